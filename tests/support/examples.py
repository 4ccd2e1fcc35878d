"""Run the examples, as scripts and as notebooks."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

from support.checks import BACKEND

ROOT = Path(__file__).parents[2]
NOTEBOOKS = runpy.run_path(str(ROOT / "docs" / "make_notebooks.py"))["notebooks"]()


def run(folder, *command):
    """Run Python with `command` in `folder`, on this backend; return what it printed."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def example(name, folder, *arguments):
    return run(folder, ROOT / "examples" / name, "--steps", 3, "--out", "out", *arguments)


def notebook(kernel, name, folder, options=""):
    """Run a notebook, short, in a folder; return the outputs of its cells.

    Args:
        kernel: Client of nbclient whose kernel has started. It goes on where the last notebook has
            ended, so that Keras is imported once.
    """
    import nbformat

    text = NOTEBOOKS[ROOT / "examples" / "notebooks" / f"{name}.ipynb"]
    kernel.nb = nbformat.reads(text, as_version=4)
    nbformat.validate(kernel.nb)
    cells = kernel.nb.cells
    argv = [name, "--steps", "3", "--out", "out", *options.split()]
    short = {
        r"\bsteps=\d[\d_]+": "steps=2",
        r"\bn_samples=\d[\d_]+": "n_samples=200",
        r"\b3000\b": "300",
    }
    for cell in cells:
        cell.source = cell.source.replace(f'sys.argv = ["{name}"]', f"sys.argv = {argv}")
        for long, brief in short.items():
            cell.source = re.sub(long, brief, cell.source)
    cells.insert(0, nbformat.v4.new_code_cell(f"import os; os.chdir({str(folder)!r})"))
    for index, cell in enumerate(cells):
        kernel.execute_cell(cell, index)
    return [output for cell in cells for output in cell.get("outputs", ())]


def said(outputs):
    """Return what cells of a notebook printed."""
    return "".join(output.text for output in outputs if output.get("name") == "stdout")
