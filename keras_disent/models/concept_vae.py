"""Images to concepts and back: what would be seen if concepts were set from outside."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from keras_disent.engine import backend
from keras_disent.models.causal import arguments
from keras_disent.models.causal.graphs import ancestors_first, total_effects
from keras_disent.models.image_model import batched
from keras_disent.models.vae import VAE


class ConceptVAE(VAE):
    """A VAE with concepts z = (I - A^T)^-1 eps between its codes eps and its decoder.

    How the graph A is learned is for a method to say.

    Attributes:
        concept_names: K names.
        concept_dim: int, dimensions k of each concept.
        graph_layer: has `adjacency()` and `edges()`, A and what of it passes on effects.
        mask_layer: a `keras_disent.models.causal.mechanisms.Mechanisms` of z.
        label_scale: a `keras_disent.layers.standardization.RunningStandardization`.
    """

    concept_names: tuple[str, ...]
    concept_dim: int
    graph_layer: Any
    mask_layer: Any
    label_scale: Any

    # -- the graph --------------------------------------------------------------------------------

    def adjacency(self) -> np.ndarray:
        """Return A: (K, K) float32, at [j, i] how strongly j causes i; in "paper" 0 to 1."""
        return ops.convert_to_numpy(ops.stop_gradient(self.graph_layer.adjacency()))

    def graph(self, threshold: float = 0.5) -> np.ndarray:
        """Return the learned graph: (K, K) int, 1 at [j, i] if |A_ji| is above `threshold`.

        It may hold a cycle until training has driven h(A) to about 0.
        """
        return (np.abs(self.adjacency()) > threshold).astype(int)

    # -- images to concepts and back --------------------------------------------------------------

    def decoded(self, codes, training: bool = False):
        return super().decoded(self._mixed(codes), training)

    def concepts(
        self,
        images,
        interventions: Mapping[str, Any] | None = None,
        keep_noise: bool = False,
        batch_size: int = 256,
    ) -> np.ndarray:
        """Return the estimated labels of images: (n, K) float32, in the labels' units.

        With `interventions`, as they would be then: as `intervene`, or with `keep_noise` as
        `counterfactual`.

        Raises:
            ValueError: as `intervene`.
        """
        codes = self._concept_codes(images, interventions or {}, keep_noise, batch_size)
        shift, scale = self.label_scale.moments()
        return (codes.mean(axis=2) * scale + shift).astype("float32")

    def intervene(
        self, images, interventions: Mapping[str, Any], batch_size: int = 256
    ) -> np.ndarray:
        """Return images of do(concept = value): each concept is set from outside.

        A set concept no longer listens to its causes. Each descendant becomes what its mechanism
        makes of its causes, f_i(A_i o z), without the noise that this image had: the expected
        image of the population that shares what is not downstream of the intervention.
        All other concepts stay as the image has them.

        Args:
            images: (n, h, w, c).
            interventions: `{concept: value}`, or (n,) values, in the units of the labels.

        Returns:
            (n, h, w, c) float32 in [0, 1].

        Raises:
            ValueError: an unknown concept, a value that is not finite or not one per image, or a
                learned graph that still has a cycle.
        """
        codes = self._concept_codes(images, interventions, False, batch_size)
        return self._render(codes, batch_size)

    def counterfactual(
        self, images, interventions: Mapping[str, Any], batch_size: int = 256
    ) -> np.ndarray:
        """Return what these very images would have been, had the concepts been set.

        As `intervene`, but with the noise of the image: what the mechanism of a descendant left
        unexplained before, z_i - f_i(A_i o z), is kept and added to what it makes of the new
        causes (abduction, action, prediction). The two agree where mechanisms explain everything;
        setting a concept to the value that it has changes nothing here, and there takes the noise
        away from its descendants.

        Args, returns and raises: as `intervene`.
        """
        codes = self._concept_codes(images, interventions, True, batch_size)
        return self._render(codes, batch_size)

    def _concept_codes(self, images, interventions, keep_noise, batch_size) -> np.ndarray:
        """Return z of images, after interventions if any: (n, K, k)."""
        self.check_images(images, whole=True)
        values = arguments.interventions(self.concept_names, interventions, images.shape[0])
        graph = self.graph()
        order = ancestors_first(graph, self.concept_names) if values else []
        shape = (-1, len(self.concept_names), self.concept_dim)
        codes = batched(self._infer, images, batch_size)[0].reshape(shape)

        def mechanisms():
            return batched(self._follow, codes.reshape(len(codes), -1), batch_size)[0].reshape(
                shape
            )

        noise = codes - mechanisms() if keep_noise and values else np.zeros_like(codes)
        shift, scale = self.label_scale.moments()
        for i, column in values.items():
            codes[:, i] = ((column - shift[i]) / scale[i])[:, None]
        changed = set(values)
        for i in order:
            if i not in values and changed & set(np.flatnonzero(graph[:, i])):
                codes[:, i] = mechanisms()[:, i] + noise[:, i]
                changed.add(i)
        return codes

    def _render(self, codes: np.ndarray, batch_size: int) -> np.ndarray:
        return batched(self._show, codes.reshape(len(codes), -1), batch_size)[0]

    @cached_property
    def _infer(self):
        return backend.compiled(self, lambda images: (self._mixed(self.encoded(images)[0]),))

    @cached_property
    def _follow(self):
        return backend.compiled(
            self,
            lambda z: (self._flat(self.mask_layer(self._by_concept(z), self.graph_layer.edges())),),
        )

    @cached_property
    def _show(self):
        return backend.compiled(self, lambda concepts: (VAE.decoded(self, concepts),))

    def _total(self):
        return total_effects(self.graph_layer.edges())

    def _by_concept(self, codes):
        return ops.reshape(codes, (-1, len(self.concept_names), self.concept_dim))

    def _flat(self, concepts):
        return ops.reshape(concepts, (-1, self.latent_dim))

    def _mixed(self, codes):
        return self._flat(ops.matmul(self._total(), self._by_concept(codes)))
