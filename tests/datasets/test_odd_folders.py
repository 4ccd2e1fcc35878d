"""Folders and tables of odd forms: links, indices of data frames, time zones, wrong mappings."""

import pytest
from PIL import Image

from keras_disent.datasets import open_folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_folders_keep_their_own_names_and_links_to_themselves_are_broken(tmp_path, capsys):
    (tmp_path / "z").mkdir()
    Image.new("L", (8, 8), 99).save(tmp_path / "z" / "1.png")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "self.png").symlink_to("self.png")
    data = open_folder(tmp_path, labels="folders")
    assert data.files == ("z/1.png",)
    assert data.factor_values["folder"].tolist() == ["z"]
    assert "1 skipped: broken links" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (",file,x\n0,1.png,a\n1,2.png,b\n", ["a", "b"]),  # as pandas writes it
        ("file,x\n1.png,01\n2.png,1\n", ["01", "1"]),
        ("file,x\n1.png,01\n2.png,02\n", [1, 2]),
        ("file;x\n1.png;0,5\n2.png;1\n", [0.5, 1]),
        ("file,x\n/home/me/pictures/1.png,a\nC:\\pictures\\2.png,b\n", ["a", "b"]),
        ("file,x\n1.png,a\u2028c\n2.png,b\n", ["a\u2028c", "b"]),
        ("file,x\n1.png,1_000\n2.png,2_000\n", ["1_000", "2_000"]),
        ("file,x\n1.png,2024-W01\n2.png,2024-W02\n", ["2024-W01", "2024-W02"]),
        ("name,path,x\nTom,1.png,a\nEva,2.png,b\n", ["a", "b"]),
    ],
)
def test_odd_tables(tmp_path, table, values):
    for number in (1, 2):
        Image.new("L", (8, 8), 99).save(tmp_path / f"{number}.png")
    (tmp_path / "labels.csv").write_text(table, encoding="utf-8")
    assert open_folder(tmp_path).factor_values["x"].tolist() == values


def test_dates_with_time_zones(tmp_path):
    for number in (1, 2):
        Image.new("L", (8, 8), 99).save(tmp_path / f"{number}.png")
    rows = "1.png,2024-01-01T12:00:00+02:00\n2.png,2024-01-01T11:00:00\n"
    (tmp_path / "labels.csv").write_text(f"file,x\n{rows}")
    data = open_folder(tmp_path)
    assert [str(day)[11:13] for day in data.factor_values["x"]] == ["10", "11"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"file": ["1.png"], "x": [1, 2]}, "columns of one length. Got file 1, x 2"),
        ({"1.png": 5}, "a sequence of labels per column.* Got 5"),
        ({"file": "1.png", "x": "a"}, "a sequence of labels per column.* Got '1.png'"),
    ],
)
def test_wrong_mappings(tmp_path, labels, message):
    Image.new("L", (8, 8), 99).save(tmp_path / "1.png")
    with pytest.raises((ValueError, TypeError), match=message):
        open_folder(tmp_path, labels=labels)


def test_names_with_line_breaks_stay_on_one_line(tmp_path, capsys):
    (tmp_path / "a\nb.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"'a\\nb\.png': its content") as caught:
        open_folder(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_labels_that_are_no_table(tmp_path):
    Image.new("L", (8, 8), 99).save(tmp_path / "1.png")
    with pytest.raises(TypeError, match=r"`labels` is a table, or the path of one. Got \[1\]"):
        open_folder(tmp_path, labels=[1])
