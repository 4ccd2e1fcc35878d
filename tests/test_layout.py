"""The plan of the package: which place may import which."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import keras_disent

PACKAGE = Path(keras_disent.__file__).parent

# From the ground up: a place imports places before it, and none after.
FLOORS = [*("_utils", "trackers", "engine", "layers", "plots", "metrics", "datasets", "callbacks")]


def places(node):
    """Yield the places of this package that an import statement names."""
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module]
        if node.module == "keras_disent":
            names = [f"keras_disent.{alias.name}" for alias in node.names]
    for name in names:
        package, _, rest = name.partition(".")
        if package == "keras_disent":
            yield rest.partition(".")[0] or "keras_disent"


def imports(place, *, at_import):
    """Return what the files of a place import: (file, place) pairs."""
    files = [PACKAGE / f"{place}.py"] if (PACKAGE / f"{place}.py").exists() else []
    found = set()
    for file in files or (PACKAGE / place).rglob("*.py"):
        tree = ast.parse(file.read_text())
        hidden = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.If))
            for part in ast.walk(node)
        }
        for node in ast.walk(tree):
            if not (at_import and id(node) in hidden):
                found |= {(file.relative_to(PACKAGE).as_posix(), p) for p in places(node)}
    return {(file, p) for file, p in found if p not in (place, "__version__", "keras_disent")}


@pytest.mark.parametrize("place", FLOORS)
def test_imports_point_down(place):
    below = {*FLOORS[: FLOORS.index(place)]}
    assert {(file, p) for file, p in imports(place, at_import=False) if p not in below} == set()


@pytest.mark.parametrize("place", ["metrics", "datasets", "plots", "_utils"])
def test_arrays_need_no_model(place):
    assert {p for _, p in imports(place, at_import=True)} <= {"_utils", "plots", "metrics"}


def test_no_place_is_in_a_circle():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__init__", "__pycache__"}
    graph = {place: {p for _, p in imports(place, at_import=True)} for place in rooms}
    assert graph["models"] >= {"engine", "layers"}
    TopologicalSorter(graph).prepare()  # raises CycleError
