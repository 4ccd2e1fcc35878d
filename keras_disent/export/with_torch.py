"""PyTorch's exported programs."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_disent.export.endpoints import Array, Endpoint, converted


def torch(endpoints: Sequence[Endpoint], model: Any, folder: Path, card: dict) -> None:
    """Write one `model.pt2` with an exported program for each endpoint."""
    from torch.export.pt2_archive._package import package_pt2

    programs = converted(endpoints, lambda endpoint: _program(endpoint, model))
    extra = {"card.json": json.dumps(card)}
    package_pt2(str(folder / "model.pt2"), exported_programs=programs, extra_files=extra)


def _program(endpoint: Endpoint, model: Any) -> Any:
    import torch

    # Constants instead of parameters: a program then holds those weights that it needs. The scope
    # is made before, as it looks at all of them.
    scope = keras.StatelessScope([(v, v.value.detach().clone()) for v in model.variables])

    class Module(torch.nn.Module):
        def forward(self, **arrays):
            with scope:
                return endpoint.function(**arrays)

    # PyTorch names what is free by the names of arguments.
    named = inspect.Parameter.KEYWORD_ONLY
    Module.forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(inspect.Parameter(array.name, named) for array in endpoint.inputs),
        ]
    )
    any_length = torch.export.Dim.DYNAMIC
    free = {
        array.name: {i: any_length for i, size in enumerate(array.shape) if size is None}
        for array in endpoint.inputs
    }
    examples = {a.name: torch.as_tensor(_example(a, i)) for i, a in enumerate(endpoint.inputs)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(Module(), (), examples, dynamic_shapes=free, strict=False)


def _example(array: Array, place: int) -> Any:
    """Return zeros; lengths that are free differ from input to input, and none is 0 or 1."""
    import numpy as np

    return np.zeros([place + 2 if size is None else size for size in array.shape], array.dtype)
