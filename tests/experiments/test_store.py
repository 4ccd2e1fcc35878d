"""Folders that a JSON file defines, and files that are written atomically."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
from support.commands import environment, files
from support.creating import create

from keras_disent._utils.files import atomic_write, unfinished
from keras_disent.experiments.store import LOCK, RUN, STUDY, LockedError, Store, read_json

HOLD = """
import sys, time
from keras_disent.experiments.store import RUN, Store
with Store(RUN, sys.argv[1]).lock(create=True):
    print("locked", flush=True)
    time.sleep(600)
"""


def hold(folder):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "locked\n"
    return holder


def test_a_lock_ends_with_its_process(tmp_path):
    store = Store(RUN, tmp_path / "run")
    store.create({}, "jax")
    holder = hold(tmp_path / "run")
    assert store.locked()
    with pytest.raises(LockedError, match=r"The run in '.*run' is locked by another process. No"):
        store.lock(wait=0).__enter__()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert not store.locked()
    with store.lock(), store.lock():
        assert store.locked()
    assert not store.locked()


def test_looking_at_a_lock_writes_nothing(tmp_path):
    assert not Store(RUN, tmp_path).locked()
    assert list(tmp_path.iterdir()) == []


def test_one_of_many_creates_a_folder(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        made = pool.map(create, [str(tmp_path / "run")] * 8)
    assert sorted(made) == [False] * 7 + [True]


def test_a_killed_create_leaves_a_folder_for_the_same(tmp_path):
    store = Store(RUN, tmp_path)
    (tmp_path / LOCK).touch()
    (tmp_path / ".config.0123abcd.part.json").write_text("{")
    assert store.interrupted()
    store.create({"steps": 3}, "jax")
    assert list(files(tmp_path)) == ["config.json"]
    assert not store.interrupted()


@pytest.mark.parametrize("name", ["notes.txt", ".config.json.part", ".notes.0123abcd.part.json"])
def test_files_of_others_make_a_folder_theirs(name, tmp_path):
    (tmp_path / name).write_text("mine")
    store = Store(RUN, tmp_path)
    with pytest.raises(ValueError, match=r"A run needs a new or empty folder. '.*' is neither."):
        store.create({}, "jax")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert not store.interrupted()


def test_kinds_have_their_own_files(tmp_path):
    Store(RUN, tmp_path).create({}, "jax")
    with pytest.raises(ValueError, match=r"A study folder holds study.json. There is none in"):
        Store(STUDY, tmp_path).definition()
    with pytest.raises(ValueError, match=r"holds a run already"):
        Store(RUN, tmp_path).create({}, "jax")
    with pytest.raises(ValueError, match=r"A study needs a new or empty folder"):
        Store(STUDY, tmp_path).create({}, "jax")


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError, match=r"'.*a\.txt'") as error:
        fill(tmp_path / "a.txt")
    assert error.value.filename == str(tmp_path / "a.txt")
    assert files(tmp_path) == {"a.txt": b"old"}


def fill(path):
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device", str(temporary))


def test_files_are_on_the_disk_before_they_are_renamed(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("sync"), sync(file))[1])
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("rename"), replace(*names)))
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert order == ["sync", "rename", "sync"]


def test_only_exact_names_are_left_by_a_kill(tmp_path):
    names = [".a.0123abcd.part.txt", ".a.0123abcd.part", ".a.0123.part.txt", "a.0123abcd.part.txt"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".b.0123abcd.part.txt").symlink_to(tmp_path / names[0])
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / names[0]).touch()
    assert [path.name for path in unfinished(tmp_path, r"[ab]\.txt")] == [names[0]]


def test_nesting_without_end_is_one_line(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"a\.json' is not a card: ") as error:
        read_json(tmp_path / "a.json", "a card")
    assert "\n" not in str(error.value)
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    assert read_json(tmp_path / "a.json", "a card") == {"a": 1}
