"""VAE with causal concepts: estimated labels, interventions and counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from keras_disent._utils.types import Tensor
from keras_disent.engine import backend
from keras_disent.models.batching import as_dtype, batched, bounded, check_dtype
from keras_disent.models.causal import arguments
from keras_disent.models.causal.graphs import ancestors_first, total_effects
from keras_disent.models.vae import VAE


class ConceptVAE(VAE):
    """Insert concepts z = (I - A^T)^-1 eps between the codes eps and the decoder of a VAE.

    A subclass defines how the graph A is learned.

    Attributes:
        concept_names: Names of the K concepts.
        concept_dim: Number of dimensions k of each concept (int).
        graph_layer: Layer with `adjacency()`, the matrix A, and `edges()`, the edges that transmit
            effects.
        mask_layer: A `keras_disent.models.causal.mechanisms.Mechanisms` of z.
        label_scale: A `keras_disent.layers.standardization.RunningStandardization`.
    """

    concept_names: tuple[str, ...]
    concept_dim: int
    graph_layer: Any
    mask_layer: Any
    label_scale: Any

    def default_latent_names(self) -> tuple[str, ...]:
        """Return the names of the concepts, numbered if they have several latents each."""
        if self.concept_dim == 1:
            return tuple(self.concept_names)
        return tuple(f"{name}_{i}" for name in self.concept_names for i in range(self.concept_dim))

    # -- the graph --------------------------------------------------------------------------------

    def adjacency(self) -> np.ndarray:
        """Return A: (K, K) float32, at [j, i] the effect of j on i; 0 to 1 in "paper"."""
        return ops.convert_to_numpy(ops.stop_gradient(self.graph_layer.adjacency()))

    def graph(self, threshold: float = 0.5) -> np.ndarray:
        """Return the learned graph: (K, K) int, 1 at [j, i] if |A_ji| is above `threshold`.

        It may contain a cycle until training has reduced h(A) to about 0.
        """
        return (np.abs(self.adjacency()) > threshold).astype(int)

    # -- tensors ----------------------------------------------------------------------------------

    def intervene_tensors(
        self, codes: Tensor, values: Tensor, fixed: Tensor, noise: Tensor
    ) -> tuple[Any, Any]:
        """Return the concepts of codes under interventions, as `intervene` or `counterfactual`.

        Args:
            codes: Codes (n, D).
            values: Values (n, K) of the concepts that are set, in the units of the labels.
            fixed: 1 for a concept that is set, 0 for the others, (n, K).
            noise: 1 to keep the noise of the codes, as a counterfactual, or 0, (n, 1).

        Returns:
            Concepts z (n, D), which `decode_concepts` reads, and estimated labels (n, K).
        """
        edges = self.graph_layer.edges()
        transmits = ops.cast(ops.abs(edges) > 0.5, "float32")
        before = self._by_concept(self._mixed(codes))
        residual = noise[..., None] * (before - self.mask_layer(before, edges))
        fixed_concepts = self.label_scale(values)[..., None] * ops.ones_like(before)
        is_fixed, changed = fixed[..., None] > 0.5, fixed
        concepts = ops.where(is_fixed, fixed_concepts, before)
        for _ in range(len(self.concept_names) - 1):  # the longest way from cause to effect
            changed = ops.minimum(changed + ops.matmul(changed, transmits), 1.0)
            effects = self.mask_layer(concepts, edges) + residual
            effects = ops.where(changed[..., None] > 0.5, effects, before)
            concepts = ops.where(is_fixed, fixed_concepts, effects)
        return self._flat(concepts), self.label_scale.inverse(ops.mean(concepts, axis=2))

    def decode_concepts(self, concepts: Tensor) -> Tensor:
        """Decode concepts z (n, D) to expected images: (n, h, w, c) in [0, 1]."""
        return super().decode_tensors(concepts)

    # -- images to concepts and back --------------------------------------------------------------

    def decode_tensors(self, codes: Tensor, training: bool = False) -> Tensor:
        return super().decode_tensors(self._mixed(codes), training)

    def concepts(
        self,
        images: Tensor,
        interventions: Mapping[str, Any] | None = None,
        keep_noise: bool = False,
        batch_size: int = 256,
    ) -> np.ndarray:
        """Estimate the labels of images: (n, K) float32, in the labels' units.

        Args:
            images: Images (n, h, w, c).
            interventions: Values of concepts under which the labels are estimated, as `intervene`,
                or with `keep_noise` as `counterfactual`.
            keep_noise: Whether the noise of the images is kept.
            batch_size: Number of images at a time.

        Raises:
            ValueError: As `intervene`.
        """
        codes = self._concept_codes(images, interventions or {}, keep_noise, batch_size)
        shift, scale = self.label_scale.moments()
        return (codes.mean(axis=2) * scale + shift).astype("float32")

    def intervene(
        self,
        images: Tensor,
        interventions: Mapping[str, Any],
        batch_size: int = 256,
        dtype: str = "float32",
    ) -> np.ndarray:
        """Return images under do(concept = value), which sets concepts independent of their causes.

        Each descendant of a set concept follows its mechanism, f_i(A_i o z), without the noise of
        this image. The result is the expected image of the population with the same concepts
        upstream of the intervention. All other concepts keep their values.

        Args:
            images: Images (n, h, w, c).
            interventions: `{concept: value}`, one value or (n,) values, in the units of the labels.
            batch_size: Number of images at a time.
            dtype: "float32", in [0, 1], or "uint8".

        Returns:
            Images (n, h, w, c).

        Raises:
            ValueError: For an unknown concept, a value that is not finite or not one per image, or
                a learned graph that still has a cycle.
        """
        check_dtype(dtype)
        codes = self._concept_codes(images, interventions, False, batch_size)
        return as_dtype(self._render(codes, batch_size), dtype)

    def counterfactual(
        self,
        images: Tensor,
        interventions: Mapping[str, Any],
        batch_size: int = 256,
        dtype: str = "float32",
    ) -> np.ndarray:
        """Return counterfactual images: the same images, had the concepts been set.

        As `intervene`, but with the noise of the image. The residual of a descendant's mechanism,
        z_i - f_i(A_i o z), is added to its prediction from the new causes (abduction, action,
        prediction). The two methods agree where mechanisms explain everything. Setting a concept to
        its present value changes nothing here, and removes the noise of its descendants there.

        Args, returns and raises: As `intervene`.
        """
        check_dtype(dtype)
        codes = self._concept_codes(images, interventions, True, batch_size)
        return as_dtype(self._render(codes, batch_size), dtype)

    def _concept_codes(
        self, images: Tensor, interventions: Any, keep_noise: bool, batch_size: int
    ) -> np.ndarray:
        """Return the concepts z of images after interventions, if any: (n, K, k)."""
        self.check_images(images, check_values=True)
        values = arguments.interventions(self.concept_names, interventions, images.shape[0])
        graph = self.graph()
        order = ancestors_first(graph, self.concept_names) if values else []
        shape = (-1, len(self.concept_names), self.concept_dim)
        codes = batched(self._infer, images, batch_size)[0].reshape(shape)

        def mechanisms() -> Any:
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
        batch_size = bounded(batch_size, self.image_shape)
        return batched(self._show, codes.reshape(len(codes), -1), batch_size)[0]

    @cached_property
    def _infer(self) -> Any:
        return backend.compiled(self, lambda images: (self._mixed(self.encode_tensors(images)[0]),))

    @cached_property
    def _follow(self) -> Any:
        return backend.compiled(
            self,
            lambda z: (self._flat(self.mask_layer(self._by_concept(z), self.graph_layer.edges())),),
        )

    @cached_property
    def _show(self) -> Any:
        return backend.compiled(self, lambda concepts: (self.decode_concepts(concepts),))

    def _total(self) -> Any:
        return total_effects(self.graph_layer.edges())

    def _by_concept(self, codes: Tensor) -> Tensor:
        return ops.reshape(codes, (-1, len(self.concept_names), self.concept_dim))

    def _flat(self, concepts: Tensor) -> Tensor:
        return ops.reshape(concepts, (-1, self.latent_dim))

    def _mixed(self, codes: Tensor) -> Tensor:
        return self._flat(ops.matmul(self._total(), self._by_concept(codes)))
