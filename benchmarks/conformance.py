"""Which public implementations of the scores agree with the conformance vectors?

    python benchmarks/conformance.py
    python benchmarks/conformance.py --only latte --python latte=/usr/bin/python3.10
    python benchmarks/conformance.py --write   # into docs/conformance.json and docs/conformance.md

Makes an environment for each implementation with its own Python, installs it there with pip, and
runs `adapters.py` in it. Their releases need Python 3.7, 3.10 and 3.12: these are looked for on the
path and in the folder of pyenv, or are named by `--python`. What cannot be installed is said, and
the others are run. Environments are kept in `--folder` and used again. Prints the table; about ten
minutes, nearly all of it for the boosted trees of DCI.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from keras_disent import __version__, metrics
from keras_disent._utils.files import atomic_write
from keras_disent.metrics import conformance

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs" / "conformance.json", ROOT / "docs" / "conformance.md"
REPORTED = ("numpy", "scipy", "scikit-learn", "tensorflow", "torch")


class Implementation(NamedTuple):
    """A release in the registry, and how it is installed.

    Attributes:
        release: Requirement of the release.
        python: Version of Python that it needs.
        with_dependencies: Requirements that pip resolves.
        alone: Requirements installed without what they ask for, with the reason in `remark`.
        remark: What differs from `pip install`.
    """

    release: str
    python: str
    with_dependencies: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    remark: str = ""


IMPLEMENTATIONS = {
    "disentanglement_lib": Implementation(
        "disentanglement-lib==1.5",
        "3.7",
        (
            *("tensorflow==1.15.5", "protobuf<3.21", "gin-config==0.3.0", "six"),
            *("numpy==1.18.5", "scipy==1.4.1", "scikit-learn==0.22.2.post1"),
        ),
        ("disentanglement-lib==1.5",),
        "Installed without the dependencies of its models and pictures.",
    ),
    "disent": Implementation(
        "disent==0.9.3",
        "3.12",
        ("numpy", "scipy", "scikit-learn", "h5py", "requests", "tqdm", "Pillow"),
        ("disent==0.9.3",),
        "Installed without torch, torchvision and lightning, which are gigabytes on Linux: its "
        "metrics compute with NumPy, and a stand-in takes the place of what they import.",
    ),
    "latte": Implementation("latte-metrics", "3.10", ("--pre", "latte-metrics")),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=IMPLEMENTATIONS, default=[*IMPLEMENTATIONS])
    parser.add_argument("--python", nargs="+", default=[], metavar="NAME=PATH")
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv-conformance")
    parser.add_argument("--write", action="store_true", help="write JSON and table into docs/")
    options = parser.parse_args()
    paths = dict(part.partition("=")[::2] for part in options.python)
    if unknown := [name for name in paths if name not in IMPLEMENTATIONS]:
        parser.error(f"--python needs one of {', '.join(IMPLEMENTATIONS)}. Got {unknown[0]!r}")
    if options.write and len(options.only) < len(IMPLEMENTATIONS):
        parser.error("--write needs the results of all implementations: leave --only out")
    results = {"keras_disent": of_this_package()}
    for name in options.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = of_implementation(name, paths.get(name), options.folder)
    if options.write:
        with atomic_write(RESULTS) as temporary:
            temporary.write_text(as_json(results))
        with atomic_write(PAGE) as temporary:
            temporary.write_text(with_tables(PAGE.read_text(), results))
    print(tables(results))
    return 0 if all("failed" not in result for result in results.values()) else 1


def of_this_package() -> dict[str, Any]:
    import numpy
    import scipy
    import sklearn

    return {
        "release": f"keras-disent {__version__}",
        "python": platform.python_version(),
        "packages": {
            "numpy": numpy.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "date": datetime.date.today().isoformat(),
        "remark": "",
        "values": [
            row(comparison)
            for vector in conformance.load()
            for comparison in conformance.run(vector, getattr(metrics, vector.function))
        ],
    }


def of_implementation(name: str, path: str | None, folder: Path) -> dict[str, Any]:
    """Return the results of one implementation, or `failed` with the reason."""
    needs = IMPLEMENTATIONS[name]
    result: dict[str, Any] = {
        "release": needs.release,
        "date": datetime.date.today().isoformat(),
        "remark": needs.remark,
    }
    try:
        python = environment(needs, path, folder / name)
        values = folder / f"{name}.json"
        done(python, ROOT / "benchmarks" / "adapters.py", name, conformance.FILE, values)
        version = "import platform; print(platform.python_version())"
        result["python"] = done(python, "-c", version).strip()
        listed = json.loads(done(python, "-m", "pip", "list", "--format", "json"))
        versions = {package["name"].lower(): package["version"] for package in listed}
        result["packages"] = {name: versions[name] for name in REPORTED if name in versions}
        package = re.split("[=<>]", needs.release)[0]
        result["release"] = f"{package} {versions[package]}"
        entries = json.loads(values.read_text())
    except (OSError, RuntimeError) as error:
        return {**result, "failed": str(error).splitlines()[0]}
    vectors = zip(conformance.load(), entries, strict=True)
    result["values"] = [
        row(comparison)
        for vector, entry in vectors
        if entry is not None
        for comparison in conformance.run(vector, replay(entry))
    ]
    return result


def environment(needs: Implementation, path: str | None, folder: Path) -> Path:
    """Make an environment with the implementation, unless it is there; return its Python."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete"
    wanted = json.dumps([needs.with_dependencies, needs.alone])
    if complete.exists() and complete.read_text() == wanted:
        return python
    if folder.exists():
        if not (folder / "pyvenv.cfg").exists():
            raise RuntimeError(f"{folder} is no environment of Python: name another --folder")
        shutil.rmtree(folder)
    done(interpreter(needs.python, path), "-m", "venv", folder)
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    done(*pip, *needs.with_dependencies)
    if needs.alone:
        done(*pip, "--no-deps", *needs.alone)
    complete.write_text(wanted)
    return python


def interpreter(version: str, path: str | None) -> str:
    """Return a Python of a version, such as "3.7"."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [path] if path else [shutil.which(f"python{version}"), sys.executable]
    if not path:
        candidates += sorted(pyenv.glob(f"{version}.*/bin/python"))
    for candidate in filter(None, candidates):
        try:
            found = done(candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
        except (OSError, RuntimeError):
            continue
        if found.strip() == version:
            return str(candidate)
    raise RuntimeError(
        f"needs Python {version}, which is not on this machine; --python NAME=PATH names one"
    )


def done(*command: Any) -> str:
    """Run a command; return what it printed, or raise RuntimeError with its last line."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    process = subprocess.run([*map(str, command)], env=clean, capture_output=True, text=True)
    if process.returncode:
        lines = [line for line in process.stderr.splitlines() if line.strip()] or ["no message"]
        errors = [line for line in lines if line.startswith("ERROR")]
        raise RuntimeError(f"{Path(str(command[0])).name}: {(errors or lines)[-1]}")
    return process.stdout


def replay(entry: dict[str, Any]) -> Any:
    """Return a function that returns, or raises, what an implementation did in its environment."""

    def function(*arguments: Any, **keywords: Any) -> dict[str, float]:
        if "error" in entry:
            kind, message = entry["error"]
            raise type(kind, (Exception,), {})(message)
        return entry

    return function


def row(comparison: conformance.Comparison) -> dict[str, Any]:
    got = comparison.got
    value = None if got is None else got if abs(got) < float("inf") else str(got)
    result = {
        **{name: getattr(comparison, name) for name in ("score", "case", "field")},
        "got": value,
        "agrees": comparison.agrees,
    }
    return {**result, "reason": comparison.reason} if comparison.reason else result


def as_json(results: dict[str, Any]) -> str:
    """Return results as JSON with one value a line."""
    text = json.dumps(results, indent=1)
    return re.sub(r"\{\s+(\"score\"[^{}]*?)\s+\}", lambda m: f"{{{' '.join(m[1].split())}}}", text)


def with_tables(page: str, results: dict[str, Any]) -> str:
    """Return the page with the tables of these results."""
    start, end = "<!-- results -->\n", "<!-- end of results -->"
    before, _, rest = page.partition(start)
    return f"{before}{start}\n{tables(results)}\n{end}{rest.partition(end)[2]}"


def tables(results: dict[str, Any]) -> str:
    """Return what was run, and how many vectors of each score agree, as tables in Markdown."""
    lines = ["| Implementation | Python | With | Run on | |", "|---|---|---|---|---|"]
    for result in results.values():
        versions = ", ".join(f"{name} {v}" for name, v in result.get("packages", {}).items())
        remark = f"Not run: {result['failed']}" if "failed" in result else result["remark"]
        cells = result["release"], result.get("python", ""), versions, result["date"], remark
        lines.append(f"| {' | '.join(cells)} |")
    run = {name: result for name, result in results.items() if "failed" not in result}
    lines += ["", f"| Score | {' | '.join(run)} |", "|---|" + "---|" * len(run)]
    names = dict.fromkeys(value["score"] for value in results["keras_disent"]["values"])
    for score in names:
        cells = [agreement(result["values"], score) for result in run.values()]
        lines.append(f"| `{score}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def agreement(values: list[dict[str, Any]], score: str) -> str:
    """Return in how many cases all fields agree, such as "8 of 9", or a dash."""
    cases: dict[str, bool] = {}
    for value in values:
        if value["score"] == score and value["agrees"] is not None:
            cases[value["case"]] = cases.get(value["case"], True) and value["agrees"]
    if not cases:
        return "—"
    agreeing = sum(cases.values())
    return f"all {len(cases)}" if agreeing == len(cases) else f"{agreeing} of {len(cases)}"


if __name__ == "__main__":
    sys.exit(main())
