"""Progress: lines in a log file, a bar on a terminal, Keras's look in a notebook."""

import os
import pty
import re
import sys
import time
import types

import pytest
from support.commands import environment, python

from keras_disent import metrics
from keras_disent._utils import progress
from keras_disent._utils.progress import progress_bar
from keras_disent.datasets import Sprites


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Make seconds short."""
    for name, seconds in {"FIRST": 0.2, "EVERY": 0.3, "SOON": 0.05}.items():
        monkeypatch.setattr(progress, name, seconds)


def count(n=10, seconds=0.1, **options):
    with progress_bar("Counting", "sheep", **options) as advance:
        for i in range(n):
            advance(i + 1, n, f"white {i + 1}")
            time.sleep(seconds)


def test_a_log_file_has_a_line_from_time_to_time(capsys):
    count()
    out, said = capsys.readouterr()
    assert out == ""
    first, *between, last = said.splitlines()
    assert re.fullmatch(r"Counting: [2-5] of 10 sheep, white [2-5], .*about \d+ s left", first)
    assert between
    assert re.fullmatch(r"Counting: 10 sheep, white 10, [\d.]+ sheep/s, took \d+ s", last)
    assert "\x1b" not in said


def test_short_work_says_nothing(capsys):
    count(2, 0.01)
    assert capsys.readouterr() == ("", "")


def test_work_that_tells_nothing_shows_life(capsys):
    with progress_bar("Thinking"):
        time.sleep(0.4)
    assert re.match(r"Thinking: \d s so far\n", capsys.readouterr().err)


def test_what_comes_before_the_first_count_is_not_in_the_time_left(capsys):
    with progress_bar("Counting", "sheep") as advance:
        advance(0, note="compiling")
        time.sleep(1)
        for i in range(4):
            advance(i + 1, 100)
            time.sleep(0.1)
    said = capsys.readouterr().err
    assert said.startswith("Counting: compiling, 0 s so far\n")
    left = [int(text) for text in re.findall(r"about (\d+) s left", said)]
    assert left
    assert max(left) <= 30  # 100 times 0.1 s and a slow machine, not 100 times 0.35 s


def test_an_error_is_not_told_as_an_end(capsys):
    def fail():
        with progress_bar("Counting"):
            time.sleep(0.4)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "took" not in capsys.readouterr().err


def test_work_inside_of_other_work_is_not_shown(capsys):
    with progress_bar("All"):
        count(5)
    assert "Counting" not in capsys.readouterr().err
    count(5)
    assert "Counting" in capsys.readouterr().err


def test_as_in_keras_0_is_silent_1_a_bar_and_2_lines(capsys, monkeypatch):
    count(verbose=0)
    assert capsys.readouterr() == ("", "")
    count(verbose=2)
    assert capsys.readouterr().err.count("\n") > 2
    count(verbose=1)
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith("Counting\n\r")
    assert said.endswith("white 10\n")
    monkeypatch.setattr(progress, "default", 0)  # --quiet
    count()
    assert capsys.readouterr() == ("", "")


def test_a_notebook_has_a_bar_that_looks_like_that_of_keras(capsys, monkeypatch):
    shown = []

    def display(bundle, raw, display_id=None):
        shown.append(bundle["text/plain"])
        return types.SimpleNamespace(update=display)

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    monkeypatch.delenv("NO_COLOR", raising=False)
    count()
    assert capsys.readouterr() == ("", "")
    assert len(shown) > 5
    heading, last = shown[-1].split("\n")
    assert heading == "Counting"
    assert last.startswith(f"\x1b[1m10/10\x1b[0m \x1b[32m{'━' * progress.WIDTH}\x1b[0m ")
    assert re.search(r"ms/sheep - white 10", last)
    monkeypatch.setenv("NO_COLOR", "1")
    count()
    assert "\x1b" not in shown[-1]
    count(verbose=2)
    assert capsys.readouterr().out.startswith("Counting: ")


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_has_a_bar_that_leaves_a_line(variables):
    code = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
    code += "from keras_disent._utils import progress; progress.FIRST = 0.2\n"
    code += "import time\nwith progress.progress_bar('Counting', 'sheep') as advance:\n"
    code += "    for i in range(10): advance(i + 1, 10); time.sleep(0.1)\n"
    pid, terminal = pty.fork()
    if not pid:
        os.execve(
            sys.executable,
            [sys.executable, "-c", code],
            {**environment(TERM="xterm-256color", COLUMNS="100"), **variables},
        )
    said = b""
    while True:
        try:
            said += os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
    assert os.waitpid(pid, 0)[1] == 0
    said = said.decode()
    assert "━" in said
    assert re.search(r"[3-9] of 10 sheep", said)
    assert re.search(r"Counting: 10 sheep, [\d.]+ sheep/s, took \d+ s\r\n", said)
    assert bool(re.search(r"\x1b\[[\d;]*3\dm", said)) == (not variables)


@pytest.mark.parametrize("verbose", [3, -1, "loud", None, 1.5])
def test_other_values_are_refused_before_any_work(verbose):
    rule = r'`verbose` is "auto", 0 \(silent\), 1 \(a bar\) or 2 \(lines\)\. Got '
    with pytest.raises(ValueError, match=rule):
        metrics.evaluate(lambda images: 1 / 0, _data(), ["mig"], verbose=verbose)


def test_scoring_tells_how_far_it_is(capsys):
    def codes(images):
        time.sleep(0.3)
        return images.reshape(len(images), -1)[:, ::100].astype(float)

    metrics.evaluate(codes, _data(), ["mig", "sap"], n_samples=300)
    said = capsys.readouterr().err
    assert said.startswith("Scoring: encoding images, ")
    assert re.search(r"^Scoring: 2 scores, last \w+, .*took \d+ s$", said, re.M)
    metrics.evaluate(codes, _data(), ["mig", "sap"], n_samples=300, verbose=0)
    assert capsys.readouterr() == ("", "")


def test_a_stream_that_is_closed_ends_no_work():
    code = "import sys, time; from keras_disent._utils import progress; progress.FIRST = 0.1\n"
    code += "with progress.progress_bar('Counting'):\n"
    code += "    sys.stderr.close(); time.sleep(0.3)\nprint('done')"
    assert python(code)[:2] == (0, "done\n")


def _data():
    return Sprites(32).subgrid({"shape": [0], "scale": [5], "orientation": [0]})
