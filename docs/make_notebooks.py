"""Write the examples, and the lesson of `notebooks.md`, as notebooks without outputs.

python docs/make_notebooks.py
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "examples" / "notebooks"

Cell = tuple[str, str]
"""Kind, "markdown" or "code", and text."""


def cells_of_script(name: str, text: str) -> Iterator[Cell]:
    """Yield the docstring, the options, and each paragraph of code of a script."""
    first, *body = ast.parse(text).body
    title, _, about = ast.get_docstring(ast.parse(text), clean=True).partition("\n")
    usage = re.compile(r"^ {4}python .*\n?", re.M)
    yield "markdown", f"# {title}\n\n{usage.sub('', about).strip()}"
    yield "code", f'import sys\n\nsys.argv = ["{name}"]  # options, such as "--steps", "300"'
    lines, end = text.splitlines(), first.end_lineno
    paragraphs: list[tuple[list[str], bool]] = []
    for node in body:
        above = lines[end : node.end_lineno]
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        start = not paragraphs or (not above[0].strip() and not (is_import and paragraphs[-1][1]))
        if start:
            paragraphs.append((above, is_import))
        else:
            paragraphs[-1][0].extend(above)
        end = node.end_lineno
    for paragraph, _ in paragraphs:
        yield "code", "\n".join(paragraph).strip("\n")
    out = re.search(r'"--out", type=Path, default=Path\("(.*?)"\)', text)
    if out:
        has_args = re.search(r"^args = ", text, re.M)  # a script with a `main` has none
        imports = "from IPython.display import Image, display\n\n"
        imports = imports if has_args else f"from pathlib import Path\n\n{imports}"
        folder = "args.out" if has_args else f'Path("{out[1]}")'
        yield "markdown", "What it drew:"
        yield (
            "code",
            f'{imports}for path in sorted({folder}.rglob("*.png"))[-3:]:\n'
            "    display(Image(filename=path, width=800))",
        )


def cells_of_page(text: str) -> Iterator[Cell]:
    """Yield the text and the Python of the lesson in a page."""
    lesson = re.search(r"^## (A lesson.*?)(?=^## |\Z)", text, re.M | re.S)[1]
    lesson = re.sub(r"^!\[.*\n|^\*.*\*\n", "", "# " + lesson, flags=re.M)
    lesson = re.sub(r"\[([^]]*)\]\([^)]*\.md[^)]*\)", r"\1", lesson)  # pages are elsewhere
    for i, part in enumerate(re.split(r"^```(?:python)?\n", lesson, flags=re.M)):
        if part.strip():
            yield ("code" if i % 2 else "markdown"), part.strip()


def notebook(cells: Iterator[Cell]) -> str:
    """Return a notebook as text."""
    listed = []
    for i, (kind, text) in enumerate(cells):
        cell = {"cell_type": kind, "id": f"cell-{i}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        listed.append({**cell, "source": text.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    found = {"cells": listed, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def notebooks() -> dict[Path, str]:
    """Return the text of all notebooks by path."""
    found = {
        NOTEBOOKS / f"{script.stem}.ipynb": notebook(
            cells_of_script(script.stem, script.read_text())
        )
        for script in sorted((ROOT / "examples").glob("*.py"))
    }
    page = (ROOT / "docs" / "notebooks.md").read_text()
    return {**found, NOTEBOOKS / "lesson.ipynb": notebook(cells_of_page(page))}


if __name__ == "__main__":
    NOTEBOOKS.mkdir(exist_ok=True)
    for path, text in notebooks().items():
        path.write_text(text)
        print(f"Wrote {path}")
