"""CausalVAE: a VAE whose latents are labeled concepts, with a learned causal graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.registry import lookup
from keras_disent._utils.types import Tensor
from keras_disent.engine import schedules
from keras_disent.layers.standardization import RunningStandardization
from keras_disent.models.causal import arguments
from keras_disent.models.causal.acyclicity import AugmentedLagrangian, acyclicity
from keras_disent.models.causal.labels import check_labels
from keras_disent.models.causal.learners import AnnealedGraph, RealGraph
from keras_disent.models.causal.mechanisms import Mechanisms
from keras_disent.models.concept_vae import ConceptVAE
from keras_disent.models.hyperparameters import Range
from keras_disent.models.options import VAEOptions
from keras_disent.models.vae import VAE

VARIANTS = ("paper", "fixed_weights")


@keras.saving.register_keras_serializable("keras_disent")
class CausalVAE(ConceptVAE):
    """Train a CausalVAE: codes eps, concepts z = (I - A^T)^-1 eps, and a learned acyclic graph A.

    It learns from `fit(images, labels)`, labels float (n, K) in any units, one column a concept;
    `data.batches(labels=True)` of `Pendulum` and `Flow` gives both. Labels u are standardized by
    their mean and scale over all training batches so far. Minimizes

        reconstruction + kl_weight * KL(q(eps|x) || N(0, I))
        + concept_kl_weight * sum_i KL(q(z_i|x) || N(u_i, concept_scale^2))
        + label_weight * (misfit of u_i = g_i(A_i o u))
        + mask_weight * (squared misfit of z_i = f_i(A_i o z))
        + sparsity * sum |A| + multiplier * h(A) + penalty / 2 * h(A)^2

    with h(A) = tr[(I + A o A / K)^K] - K, which is 0 if A has no cycle, and f_i, g_i a small ELU
    network for each concept. The decoder sees all concepts z.

    `encode`, `decode`, `traverse`, `sample` and `latent_kl` use the codes eps, the independent part
    of each concept: `concept_dim` columns for the first concept, then for the next. To change a
    concept and all its effects, see `intervene` and `counterfactual`.

    In the variant "paper" A is learned from the labels alone, starting from `graph` or from no
    edge. The squared error of the published objective does not distinguish causes from effects (on
    Pendulum, hundreds of wrong graphs fit the labels better than the true one), so here

    - A_ji is the probability that j causes i, and f, z and interventions use the graph of the edges
      above 1/2;
    - the misfit is a Gaussian log-likelihood with a variance for each set of causes, over random
      graphs, half of them drawn from A. The networks learn what any set explains, and each edge is
      updated by what it explains in addition to the others;
    - the causes are observed with noise of standard deviation `label_noise`. Without it, concepts
      that are exact functions of their causes could be mistaken for the causes;
    - each edge costs `sparsity` nats;
    - `temperature` times the entropy of A is subtracted. While the temperature falls to 0, edges
      are decided in the order of what they explain (deterministic annealing).

    The variant "fixed_weights" has none of this: A_ji is real and starts at 1 on `graph`; f and g
    read the sum A^T z; the objective has the mean squared error of the labels, no noise, no
    sparsity, and 3 h(A) + h(A)^2 / 2 throughout. The start, the weights of h and of the KL, and the
    32 ELU units of f and g are those of the public code (`mask_vae_pendulum`). The rest differs:
    the posterior of that code has variance 1; its decoder reads f(A^T z) and an attention to z and
    eps, with noise; its mask term is half the squared distance to the labels, which are not
    standardized; it learns all of A, not only the edges of `graph`; and its reconstruction is
    averaged over channels and rows.

    Args:
        concepts: Names of the concepts, or their number K.
        concept_dim: Number of latents k of each concept (int).
        graph: Allowed edges, from which training starts: (K, K) of 0 and 1, 1 at [j, i] if j may
            cause i, or `{cause: effects}` by name. Default: all edges are allowed, and training
            starts from none. "fixed_weights" needs a graph.
        variant: "paper" or "fixed_weights".
        kl_weight, concept_kl_weight, label_weight, mask_weight: Weights: numbers of at least 0, or
            schedules.
        sparsity: Cost of an edge in nats: a number of at least 0, or a schedule. Default 0.2, in
            "fixed_weights" 0.
        temperature: Weight of the entropy of A in nats ("paper"): a number of at least 0, or a
            schedule. Default: from 0.5 to 0 in 2,400 steps. A graph is decided when it is 0: on
            Pendulum, half as many steps are too few.
        concept_scale: Standard deviation of p(z_i|u_i) for standardized labels, a float above 0;
            default 0.1, in "fixed_weights" 1.
        label_noise: Standard deviation of the noise on standardized labels, a float of at least 0;
            default 0.1, in "fixed_weights" 0.
        acyclicity: A `keras_disent.models.causal.AugmentedLagrangian`. The default adapts its
            weights; that of "fixed_weights" does not.
        Others: As `VAE`, but without `supervision`.

    Logs, besides those of `VAE`: `concept_kl`, nats, summed over concepts; `label_loss`, in
    "paper" nats without log(2 pi) / 2, summed over concepts; `mask_loss`, squares, summed over
    concepts and dimensions; `acyclicity`, h(A); `edges`, sum of |A|.

    Raises:
        ValueError: For names that are not K different ones; a graph that is not square, not of 0
            and 1, has an edge from a concept to itself or names an unknown one; a number out of its
            range; before training, labels that are missing, of another width, not finite or
            constant. Else as `VAE`.

    Source: Yang et al. 2021, "CausalVAE", equations 1 to 4, 8 and 12; public code:
    github.com/huawei-noah/trustworthyAI, research/CausalVAE. Likelihood and random graphs as in
    Brouillard et al. 2020, "Differentiable causal discovery", equations 6 and 9; annealing: Ueda &
    Nakano 1998, "Deterministic annealing EM algorithm".

    >>> import numpy as np
    >>> model = CausalVAE((16, 16, 1), ("light", "shadow"), concept_dim=2)
    >>> model.compile()
    >>> images, labels = np.zeros((8, 16, 16, 1), "uint8"), np.arange(16.0).reshape(8, 2)
    >>> history = model.fit(images, labels, verbose=0)
    >>> model.encode(images).shape, model.concepts(images).shape, model.graph().shape
    ((8, 4), (8, 2), (2, 2))
    >>> model.intervene(images, {"light": 3.5}).shape
    (8, 16, 16, 1)
    """

    terms = (*VAE.terms, "concept_kl", "label_loss", "mask_loss", "acyclicity", "edges")
    players = {"loss": (*VAE.players["loss"], "graph_layer", "mask_layer")}
    min_player_batch = 2
    labeled = True
    kl_weight, concept_kl_weight = schedules.Weight(), schedules.Weight()
    label_weight, mask_weight = schedules.Weight(), schedules.Weight()
    sparsity, temperature = schedules.Weight(), schedules.Weight()
    tunable = {
        "kl_weight": Range(0.03, 3.0),
        "label_weight": Range(0.1, 10.0),
        "concept_dim": Range(1, 8, "whole"),
        "learning_rate": VAE.tunable["learning_rate"],
        "width": VAE.tunable["width"],
    }

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (64, 64, 1),
        concepts: int | Sequence[str] = 4,
        concept_dim: int = 4,
        graph: Any = None,
        variant: str = "paper",
        kl_weight: schedules.WeightValue = 0.3,
        concept_kl_weight: schedules.WeightValue = 1.0,
        label_weight: schedules.WeightValue = 1.0,
        mask_weight: schedules.WeightValue = 1.0,
        sparsity: schedules.WeightValue | None = None,
        temperature: schedules.WeightValue | None = None,
        concept_scale: float | None = None,
        label_noise: float | None = None,
        acyclicity: Any = None,
        **kwargs: Unpack[VAEOptions],
    ):
        names = arguments.names("concepts", concepts)
        dim = checks.check_integer("concept_dim", concept_dim, at_least=1)
        lookup(variant, dict.fromkeys(VARIANTS), "variant")
        superset = arguments.superset("graph", graph, names)
        fixed = variant == "fixed_weights"
        if fixed and graph is None:
            raise ValueError("The variant 'fixed_weights' needs a `graph` to start from. Got None.")
        if kwargs.pop("supervision", None) is not None:
            raise ValueError(
                "CausalVAE learns from labels of concepts: it takes no `supervision`. Got one."
            )
        if isinstance(acyclicity, dict):
            acyclicity = keras.saving.deserialize_keras_object(acyclicity)
        if acyclicity is None:
            acyclicity = AugmentedLagrangian(3.0, 1.0, every=0) if fixed else AugmentedLagrangian()
        elif not isinstance(acyclicity, AugmentedLagrangian):
            raise ValueError(f"`acyclicity` is an AugmentedLagrangian. Got {acyclicity!r}.")
        super().__init__(image_shape, len(names) * dim, **kwargs)
        self.concept_names, self.concept_dim = names, dim
        self.superset, self._has_graph = superset, graph is not None
        self.variant = variant

        def default(value: Any, paper: Any, fixed_weights: Any) -> Any:
            return (fixed_weights if fixed else paper) if value is None else value

        weights = {
            "kl_weight": kl_weight,
            "concept_kl_weight": concept_kl_weight,
            "label_weight": label_weight,
            "mask_weight": mask_weight,
            "sparsity": default(sparsity, 0.2, 0.0),
            "temperature": default(temperature, schedules.Linear(0.5, 0.0, 2400), 0.0),
        }
        for name, value in weights.items():
            setattr(self, name, value)
        self.concept_scale = _number("concept_scale", default(concept_scale, 0.1, 1.0))
        if self.concept_scale == 0:
            raise ValueError("`concept_scale` is above 0. Got 0.")
        self.label_noise = _number("label_noise", default(label_noise, 0.1, 0.0))
        self.lagrangian = acyclicity
        seed = self.part_seed("graph_layer")
        self.graph_layer: Any = (
            RealGraph(superset, seed)
            if fixed
            else AnnealedGraph(superset, self._has_graph, self.label_noise, seed)
        )
        seed = self.part_seed("mask_layer")
        self.mask_layer = Mechanisms(len(names), dim, summed=fixed, seed=seed)
        self.label_scale = RunningStandardization(len(names))

    @classmethod
    def network_options(
        cls, latent_dim: Any, width: float, seed: int, options: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Name the concepts of `with_networks`, whose `latent_dim` may be their number."""
        options = {**options}
        return arguments.names("concepts", options.pop("concepts", latent_dim)), options

    @classmethod
    def decoder_input_dim(cls, latent_dim: Any, options: Any) -> int:
        return len(latent_dim) * options.get("concept_dim", 4)

    def default_optimizer(
        self, learning_rate: float | None = None, player: str | None = None
    ) -> keras.optimizers.Optimizer:
        """Create the published optimizer: Adam, learning rate 1e-3."""
        return keras.optimizers.Adam(1e-3 if learning_rate is None else learning_rate)

    # -- learning ---------------------------------------------------------------------------------

    def objective(self, player: str, batch: Any, training: bool) -> dict[str, Any]:
        images, labels, mean, log_variance = self.encode_batch(batch, training)
        labels = ops.cast(labels, "float32")
        if training:
            self.label_scale.update(labels)
        labels = self.label_scale(labels)
        total = self._total()

        codes = self.noise.gaussian(mean, ops.exp(0.5 * log_variance))
        concepts = ops.matmul(total, self._by_concept(codes))
        reconstruction = self.reconstruction(images, self._flat(concepts), training)
        kl = ops.mean(ops.sum(self.prior.kl(mean, log_variance), axis=-1))
        concept_kl = _concept_kl(
            ops.matmul(total, self._by_concept(mean)),
            ops.matmul(ops.square(total), self._by_concept(ops.exp(log_variance))),
            labels,
            self.concept_scale,
        )
        mask_loss = self._mask_loss(concepts)
        label_loss = self.graph_layer.label_loss(labels, self.noise)
        graph_loss, h, count = self._graph_loss(training)
        loss = (
            reconstruction
            + self.current("kl_weight") * kl
            + self.current("concept_kl_weight") * concept_kl
            + self.current("label_weight") * label_loss
            + self.current("mask_weight") * mask_loss
            + graph_loss
        )
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "kl": kl,
            "concept_kl": concept_kl,
            "label_loss": label_loss,
            "mask_loss": mask_loss,
            "acyclicity": h,
            "edges": count,
        }

    def _graph_loss(self, training: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return the terms of A alone, h(A) and the sum of |A|."""
        adjacency = self.graph_layer.adjacency()
        h = acyclicity(adjacency)
        if training:  # first: on PyTorch, a variable cannot change after it was used
            self.lagrangian.update(h, self.steps)
        count = ops.sum(ops.abs(adjacency))
        loss = self.current("sparsity") * count + self.lagrangian(h)
        loss -= self.current("temperature") * self.graph_layer.entropy()
        return loss, h, count

    def _mask_loss(self, concepts: Tensor) -> Tensor:
        edges = self.graph_layer.edges()
        # A concept without causes has no mechanism: its term would pull it to a constant.
        caused = ops.minimum(ops.max(ops.abs(edges), axis=0), 1.0)[:, None]
        gaps = ops.square(concepts - self.mask_layer(concepts, edges)) * caused
        return ops.mean(ops.sum(gaps, axis=(1, 2)))

    # -- configuration ----------------------------------------------------------------------------

    def check_batch(
        self, images: Tensor, labels: Any = None, name: str = "x", training: bool = False
    ) -> None:
        super().check_batch(images, labels, name, training)
        check_labels(labels, self.concept_names, images.shape[0], vary=training)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["latent_dim"], config["supervision"]
        return {
            **config,
            "concepts": list(self.concept_names),
            "concept_dim": self.concept_dim,
            "graph": self.superset.tolist() if self._has_graph else None,
            "variant": self.variant,
            "concept_scale": self.concept_scale,
            "label_noise": self.label_noise,
            "acyclicity": keras.saving.serialize_keras_object(self.lagrangian),
        }


def _concept_kl(mean: Tensor, variance: Tensor, labels: Tensor, scale: float) -> Tensor:
    """Return the mean over samples of sum_i KL(N(mean_i, variance_i) || N(u_i, scale^2)), nats.

    Args:
        mean, variance: Mean and variance of q(z|x), (n, K, k).
        labels: Labels u, (n, K), the prior mean of all dimensions of a concept.
        scale: Standard deviation of the prior.

    Source: Yang et al. 2021, equation 8, with p(z_i|u_i) as in section 4.2.
    """
    gap = ops.square(mean - ops.expand_dims(labels, -1))
    ratio = variance / scale**2
    kl = 0.5 * (ratio + gap / scale**2 - 1.0 - ops.log(ratio))
    return ops.mean(ops.sum(kl, axis=(1, 2)))


def _number(name: str, value: Any) -> float:
    weight = schedules.weight(name, value)
    if callable(weight):
        raise ValueError(f"`{name}` is a number of at least 0. Got {value!r}.")
    return float(weight)
