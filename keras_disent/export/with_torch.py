"""Export to PyTorch's exported programs."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_disent._utils.types import Tensor
from keras_disent.export.endpoints import Array, Endpoint, convert_all


def torch(endpoints: Sequence[Endpoint], model: Any, folder: Path, card: dict[str, Any]) -> None:
    """Write one `model.pt2` with an exported program for each endpoint."""
    from torch.export.pt2_archive._package import package_pt2

    programs = convert_all(endpoints, lambda endpoint: _program(endpoint, model))
    extra = {"card.json": json.dumps(card)}
    package_pt2(str(folder / "model.pt2"), exported_programs=programs, extra_files=extra)


def _program(endpoint: Endpoint, model: Any) -> Any:
    import torch

    # Constants instead of parameters: a program then holds only the weights that it needs. The
    # scope is created here, as it reads all of them.
    scope = keras.StatelessScope([(v, v.value.detach().clone()) for v in model.variables])

    class Module(torch.nn.Module):
        def forward(self, **arrays: Tensor) -> Any:
            with scope:
                return endpoint.function(**arrays)

    # PyTorch names dynamic axes after the arguments.
    kind = inspect.Parameter.KEYWORD_ONLY
    Module.forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(inspect.Parameter(array.name, kind) for array in endpoint.inputs),
        ]
    )
    dynamic = torch.export.Dim.DYNAMIC
    dynamic_shapes = {
        array.name: {i: dynamic for i, size in enumerate(array.shape) if size is None}
        for array in endpoint.inputs
    }
    examples = {a.name: torch.as_tensor(_example(a, i)) for i, a in enumerate(endpoint.inputs)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(
            Module(), (), examples, dynamic_shapes=dynamic_shapes, strict=False
        )


def _example(array: Array, index: int) -> Any:
    """Return zeros whose dynamic lengths differ between inputs, and are neither 0 nor 1."""
    import numpy as np

    return np.zeros([index + 2 if size is None else size for size in array.shape], array.dtype)
