"""What a run cites, and its settings as prose: complete entries, and text that LaTeX takes."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support import checks
from support.checks import on
from support.commands import call, python

import keras_disent
from keras_disent._utils.version import __version__
from keras_disent.datasets import DATASETS
from keras_disent.experiments import Run, citations, latex
from keras_disent.layers.networks import ENCODERS
from keras_disent.metrics import METRICS
from keras_disent.models import MODELS

TINY = dataclasses.replace(checks.TINY, model="beta_vae", options={"beta": 4.0})
ROOT = Path(keras_disent.__file__).parent.parent
FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
pytestmark = on("torch")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a tiny run that is trained and scored."""
    run = Run.create(TINY, tmp_path_factory.mktemp("cited") / "run")
    run.train(pictures=False)
    run.evaluate(n_samples=200)
    return run


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (citations.MODELS, MODELS),
        (citations.DATASETS, DATASETS),
        (citations.METRICS, [*METRICS, "udr"]),
    ],
)
def test_every_method_data_set_and_score_has_entries(table, names):
    assert set(table) == set(names)
    assert all(table.values())
    known = {*citations.entries(), citations.PACKAGE}
    assert {key for keys in table.values() for key in keys} <= known


def test_networks_are_cited_by_their_names():
    assert set(citations.NETWORKS) <= set(ENCODERS)


@pytest.mark.parametrize("key", citations.entries())
def test_entries_have_author_title_year_and_venue(key):
    text = citations.entry(key)
    assert text.isascii()
    assert text.count("{") == text.count("}")
    fields = dict(FIELD.findall(text))
    kind = re.match(r"@(\w+)\{", text)[1]
    venue = {"inproceedings": "booktitle", "article": "journal", "misc": "howpublished"}[kind]
    assert {"author", "title", "year", venue} <= set(fields)
    assert all(fields.values())
    assert re.fullmatch(r"(19|20)\d\d", fields["year"])
    assert re.match(r"[a-z]+\d{4}", key)[0].endswith(fields["year"])
    authors = fields["author"].split(" and ")
    assert all(author.count(",") == 1 for author in authors)  # family name, given names


def test_every_entry_is_cited():
    tables = (citations.MODELS, citations.DATASETS, citations.METRICS, citations.NETWORKS)
    cited = {key for table in tables for keys in table.values() for key in keys}
    assert {*cited, *citations.SUPERVISION} == {*citations.entries(), citations.PACKAGE}


def test_a_run_cites_method_data_scores_and_package(run):
    text = run.cite()
    assert re.findall(r"@\w+\{(\w+),", text) == ["higgins2017", "matthey2017", "chen2018",
                                                 "keras_disent"]  # fmt: skip
    assert f"version {__version__}" in text


def test_supervision_and_networks_are_cited():
    config = {"model": "vae", "data": "mnist", "network": "burgess"}
    assert citations.keys({**config, "options": {"supervision": {"weight": 1}}}) == [
        *("kingma2014", "locatello2020labels", "lecun1998", "burgess2018", "keras_disent")
    ]


def test_what_has_no_entry_is_said():
    text = citations.bibtex({"model": "mine:Method", "data": "/home/me/mugs"}, ["mig"])
    assert "% No entry is known for the method mine:Method: add your own." in text
    assert "% No entry is known for the data /home/me/mugs: add your own." in text
    assert "chen2018" in text


def test_the_settings_are_those_of_the_run(run):
    text = run.describe()
    assert "\n" not in text
    assert r"We trained $\beta$-VAE \cite{higgins2017} with $\beta = 4$" in text
    assert r"sprites \cite{matthey2017}" in text
    for words in (f"{len(run.data):,} images", f"{run.model.count_params():,} weights",
                  f"{TINY.latent_dim} latents", f"{TINY.steps} steps of {TINY.player_batch} images",
                  "Adam at a learning rate of", f"seed {TINY.seed}", "PyTorch", __version__,
                  f"MIG \\cite{{chen2018}} is {run.scores()['mig']['value']:.3f}"):  # fmt: skip
        assert words in text
    cited = {key for keys in re.findall(r"\\cite\{(.*?)\}", text) for key in keys.split(",")}
    assert cited == set(re.findall(r"@\w+\{(\w+),", run.cite()))


def test_the_command_prints_them(run, capsys):
    assert call("cite", run.folder) == 0
    assert capsys.readouterr().out == run.cite()
    assert call("cite", run.folder, "--settings") == 0
    assert capsys.readouterr().out.strip() == run.describe()


def test_citing_needs_no_keras(run):
    code = (
        "import sys\nfrom keras_disent.cli import main\n"
        f"sys.argv = ['keras-disent', 'cite', {str(run.folder)!r}]\nmain()"
    )
    status, out, _ = python(code, hidden=("keras", "torch"))
    assert status == 0
    assert out == run.cite()


@pytest.mark.skipif(shutil.which("bibtex") is None, reason="LaTeX is not installed")
def test_latex_and_bibtex_take_all_of_it(run, tmp_path):
    entries = [citations.entry(key) for key in [*citations.entries(), citations.PACKAGE]]
    (tmp_path / "all.bib").write_text("\n\n".join(entries))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{hyperref}"
        "\\begin{document}\n" + run.describe() + "\n\\nocite{*}\n"
        "\\bibliographystyle{plain}\\bibliography{all}\\end{document}\n"
    )
    for command in (["pdflatex", "-halt-on-error", "paper"], ["bibtex", "paper"],
                    ["pdflatex", "-halt-on-error", "paper"],
                    ["pdflatex", "-halt-on-error", "paper"]):  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300)
        output = done.stdout.decode(errors="replace")
        assert done.returncode == 0, output
        assert "Warning--" not in output
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert "undefined" not in log


def test_citation_cff_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in text
    title = re.search(r'^title: "(.*)"$', text, re.MULTILINE)[1]
    author = re.search(r'- name: "(.*)"$', text, re.MULTILINE)[1]
    entry = citations.entry(citations.PACKAGE).replace("{K}", "K")
    assert title.lower() in entry.lower()
    assert author in entry


@pytest.mark.parametrize("name", MODELS)
def test_methods_have_a_printed_name(name):
    assert name in latex.MODELS


def test_special_characters_are_escaped():
    assert latex.escape("a_b & 5 % {x} #1 ~ ^ \\") == (
        "a\\_b \\& 5 \\% \\{x\\} \\#1 \\textasciitilde{} \\textasciicircum{} \\textbackslash{}"
    )
