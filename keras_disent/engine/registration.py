"""Register the classes of this package with Keras, so that `keras.saving.load_model` finds them.

Keras looks up the classes of a file among the registered ones, and a class is registered when its
module is imported. That needs a backend, and `import keras_disent` needs none. So a placeholder is
registered for each class, which imports the class when a file asks for it. This happens at once if
Keras has been imported, else as soon as it is.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

PACKAGE = "keras_disent"
CLASSES = {
    "models": (
        "GVAE",
        "HFSVAE",
        "MLVAE",
        "QLAE",
        "VAE",
        "AdaGVAE",
        "AdaMLVAE",
        "AnnealedVAE",
        "Autoencoder",
        "BetaTCVAE",
        "BetaVAE",
        "CausalVAE",
        "DIPVAE",
        "FactorVAE",
        "InfoGAN",
        "InfoVAE",
        "Tripod",
    ),
    "models.gan_networks": ("CoordinateBroadcast", "OuterProductSum"),
    "models.causal": ("AugmentedLagrangian",),
    "layers.latents": (
        "BernoulliLikelihood",
        "ContinuousBernoulliLikelihood",
        "GaussianLikelihood",
        "GaussianPosterior",
    ),
    "engine.schedules": ("Cyclical", "Linear"),
    "layers.style_networks": ("LearnedConstant",),
    "models.supervision": ("Supervision",),
    "engine.optimizers": ("PlayerOptimizers",),
}
"""Names of the registered classes, by the module that imports them."""


class Placeholder:
    """Stand in for a registered class until a file asks for it.

    Args:
        module: Name of the module inside this package.
        name: Name of the class.
    """

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def from_config(self, config: dict[str, Any]) -> Any:
        """Create an instance of the class from its configuration."""
        cls = getattr(importlib.import_module(f"{PACKAGE}.{self.module}"), self.name)
        return cls.from_config(config)

    def __repr__(self) -> str:
        return f"{PACKAGE}.{self.module}.{self.name}"


def register() -> None:
    """Register a placeholder with Keras for each class that is not registered."""
    from keras.saving import get_custom_objects

    for module, names in CLASSES.items():
        for name in names:
            get_custom_objects().setdefault(f"{PACKAGE}>{name}", Placeholder(module, name))


def register_with_keras() -> None:
    """Call `register` now if Keras has been imported, or right after it is."""
    if "keras" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras:
    """Find Keras by the other finders, and register the classes after it has been imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "keras":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_register(module: Any) -> None:
                run(module)
                register()

            spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec
