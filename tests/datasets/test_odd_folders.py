"""Folders and tables of odd forms: links, indices of data frames, time zones, wrong mappings."""

import os

import numpy as np
import pytest
from PIL import Image

from keras_disent.datasets import open_file, open_folder


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


def numbered(folder, names=("1.png", "2.png", "3.png", "4.png")):
    """Write pictures whose gray is ten times their number."""
    for number, name in enumerate(names, 1):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), 10 * number).save(folder / name)


def check_labels(data, factor="gray"):
    """Check that the label of each picture is its gray."""
    rows = range(len(data))
    column = data.factors(rows)[:, data.factor_names.index(factor)]
    values = data.factor_values[factor][column].tolist()
    assert data.images(rows)[:, 0, 0, 0].tolist() == values


GRAYS = [30, 10, 40, 20]  # of the pictures of these rows
FILES = ["3.png", "1.png", "4.png", "2.png"]
STEMS = [1, 2, 3, 4]  # a running number, which is also a name without its suffix


@pytest.mark.parametrize(
    "columns",
    [
        {"id": STEMS, "file": FILES},
        {"file": FILES, "id": STEMS},
        {"image_id": STEMS, "path": [f"/home/me/{name}" for name in FILES]},
        {"image_id": STEMS, "path": [name.upper() for name in FILES]},
        {"number": STEMS, "photo": FILES},
        {"file": [3, 1, 4, 2], "number": STEMS},
        {"file": FILES, "next": ["1.png", "2.png", "3.png", "4.png"]},
        {"name": ["Tom", "Eva", "Tom", "Eva"], "photo": FILES},
        {"id": [3, 1, 4, 2], "file": FILES},  # both say the same
    ],
)
@pytest.mark.parametrize("form", ["csv", "mapping", "frame", "parquet"])
def test_names_with_a_suffix_count_more(tmp_path, columns, form):
    numbered(tmp_path)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({**columns, "gray": GRAYS})
    labels = {"frame": frame, "mapping": frame.to_dict("list")}.get(form)
    if form == "csv":
        frame.to_csv(tmp_path / "labels.csv", index=False)
    elif form == "parquet":
        frame.to_parquet(tmp_path / "labels.parquet")
    data = open_folder(tmp_path, image_size=4, channels=1, labels=labels)
    check_labels(data)
    key = "file" if "file" in columns else list(columns)[1]
    assert data.factor_names == (*(name for name in columns if name != key), "gray")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"image": FILES, "path": ["1.png", "2.png", "3.png", "4.png"]},
            r"Got 'image' and 'path', which name '3.png' and '1.png' in row 2: name the right one",
        ),
        ({"a": STEMS, "b": [2, 1, 4, 3]}, r"Got 'a' and 'b', which name '1.png' and '2.png'"),
        ({"id": STEMS, "photo": FILES}, r"Got 'id' and 'photo', which name '1.png' and '3.png'"),
        (
            {"id": STEMS, "file": [*FILES[:3], "9.png"]},
            r"a missing image: '9.png' in row 5 of",
        ),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_columns_that_name_different_pictures(tmp_path, columns, message, on_error):
    numbered(tmp_path)
    labels = {**columns, "gray": GRAYS}
    if on_error == "skip" and "9.png" in columns.get("file", ()):
        data = open_folder(tmp_path, image_size=4, channels=1, labels=labels, on_error="skip")
        check_labels(data)
        assert data.skipped["9.png"] == "row without a picture"
        return
    with pytest.raises(ValueError, match=message) as caught:
        open_folder(tmp_path, labels=labels, on_error=on_error)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize(
    ("names", "row", "pictures"),
    [
        (("a/1.png", "b/1.png"), "1.png", "'a/1.png' and 'b/1.png'"),
        (("1.png", "1.gif"), "1", "'1.gif' and '1.png'"),
        (("a/1.png", "b/1.png", "c/1.png"), "1", "'a/1.png' and 'b/1.png' and 1 more"),
    ],
)
def test_names_of_several_pictures(tmp_path, names, row, pictures, on_error):
    numbered(tmp_path, names)
    rows = "\n".join(f"{name},1" for name in (*names[1:], row))
    (tmp_path / "labels.csv").write_text(f"file,x\n{rows}\n")
    message = f"'{row}' in row {len(names) + 1} of column 'file' fits {pictures}: write the path"
    with pytest.raises(ValueError, match=message):
        open_folder(tmp_path, on_error=on_error)


def test_columns_beside_the_names_have_their_own_types(tmp_path):
    numbered(tmp_path)
    rows = "1.png,100,NA,7\n2.png,20,Bob,\n3.png,3,null,8\n4.png,3,Eva,8\n"
    (tmp_path / "labels.csv").write_text(f"file,id,name,image_size\n{rows}")
    data = open_folder(tmp_path)
    assert data.factor_kinds == ("ordinal", "categorical", "ordinal")
    assert data.factor_values["id"].tolist() == [3, 20, 100]
    assert data.gaps == {"name": 2, "image_size": 1}
    (tmp_path / "7.csv").write_text("id,n\n3,1\n1,2\n2,3\n4,4\n")
    data = open_file_of_bytes(tmp_path, labels=tmp_path / "7.csv")
    assert data.factor_kinds == ("ordinal", "ordinal")


def open_file_of_bytes(folder, **options):
    np.save(folder / "a.npy", np.arange(256, dtype=np.uint8).reshape(4, 8, 8))
    return open_file(folder / "a.npy", **options)


@pytest.mark.parametrize(
    "names", [["NA.png", "null.png"], ["007.png", "7.png"], ["1e3.png", "1_0.png"]]
)
def test_names_of_pictures_are_texts(tmp_path, names):
    numbered(tmp_path, names)
    for cells in (names, [name.removesuffix(".png") for name in names]):
        for header in ("file", "photo"):
            rows = "\n".join(f"{cell},{gray}" for cell, gray in zip(cells, (10, 20), strict=True))
            (tmp_path / "labels.csv").write_text(f"{header},gray\n{rows}\n")
            check_labels(open_folder(tmp_path, image_size=4, channels=1))


@pytest.mark.parametrize("form", ["frame", "parquet"])
def test_categories_keep_their_order(tmp_path, form):
    pandas = pytest.importorskip("pandas")
    numbered(tmp_path)
    categories = pandas.Categorical(["lo", "hi", None, "mid"], ["lo", "mid", "hi"], ordered=True)
    frame = pandas.DataFrame({"file": FILES, "c": categories, "gray": GRAYS})
    frame["tags"] = [["a"], ["b", "a"], [], None]
    frame["span"] = pandas.cut([5, 50, 500, 5], [0, 10, 100, 1000])
    labels = frame if form == "frame" else None
    if labels is None:
        frame.astype({"span": str}).to_parquet(tmp_path / "labels.parquet")
    data = open_folder(tmp_path, labels=labels, image_size=4, channels=1)
    check_labels(data)
    assert data.factor_values["c"].tolist() == ["lo", "mid", "hi"]
    assert data.factor_names == ("c", "gray", "tags=a", "tags=b", "span")
    kinds = dict(zip(data.factor_names, data.factor_kinds, strict=True))
    assert kinds["c"] == "ordinal"
    assert kinds["span"] == ("ordinal" if form == "frame" else "categorical")
    assert data.gaps == {"c": 1, "tags=a": 1, "tags=b": 1}
    assert data.factors(range(4)).T[[0, 2]].tolist() == [[2, 1, 0, -1], [1, -1, 1, 0]]


@pytest.mark.parametrize("name", [None, "file", "who"])
@pytest.mark.parametrize("form", ["frame", "parquet"])
def test_an_index_of_names(tmp_path, form, name):
    pandas = pytest.importorskip("pandas")
    numbered(tmp_path)
    frame = pandas.DataFrame({"gray": GRAYS}, index=pandas.Index(FILES, name=name))
    if form == "parquet":
        frame.to_parquet(tmp_path / "labels.parquet")
    labels = frame if form == "frame" else None
    data = open_folder(tmp_path, labels=labels, image_size=4, channels=1)
    check_labels(data)
    assert data.factor_names == ("gray",)
    shuffled = pandas.DataFrame({"file": FILES, "gray": GRAYS}, index=[1, 3, 2, 4])
    check_labels(open_folder(tmp_path, labels=shuffled, image_size=4, channels=1))
    with pytest.raises(ValueError, match=r"a column `file` with the names of pictures"):
        open_folder(tmp_path, labels=shuffled[["gray"]])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("5,inf,6,7", r"labels.csv': 'x' needs finite.* Got inf for '2.png': leave it blank"),
        (",NA,null,", r"labels.csv': 'x' needs a label for at least one .*: leave it out of the"),
    ],
)
def test_wrong_labels_name_the_table_the_column_and_the_picture(tmp_path, cells, message):
    numbered(tmp_path)
    pairs = zip((1, 2, 3, 4), cells.split(","), strict=True)
    rows = [f"{number}.png,{cell},{number}" for number, cell in pairs]
    (tmp_path / "labels.csv").write_text("\n".join(["file,x,y", *rows[::-1]]))
    with pytest.raises(ValueError, match=message):
        open_folder(tmp_path)


@pytest.mark.parametrize("form", ["frame", "arrow", "polars"])
def test_rows_of_a_table_in_memory_keep_their_type(tmp_path, form):
    numbered(tmp_path)
    pandas = pytest.importorskip("pandas")
    sizes = ["lo", "hi", None, "mid"]
    size = pandas.Categorical(sizes, ["lo", "mid", "hi"], ordered=True)
    labels = pandas.DataFrame({"file": FILES, "size": size, "gray": GRAYS})
    if form == "arrow":
        labels = pytest.importorskip("pyarrow").Table.from_pandas(labels)
    elif form == "polars":
        polars = pytest.importorskip("polars")
        size = polars.Series(sizes, dtype=polars.Enum(["lo", "mid", "hi"]))
        labels = polars.DataFrame({"file": FILES, "size": size, "gray": GRAYS})
    data = open_folder(tmp_path, labels=labels, image_size=4, channels=1)
    check_labels(data)
    assert data.factor_values["size"].tolist() == ["lo", "mid", "hi"]
    assert data.factors(range(4))[:, 0].tolist() == [2, 1, 0, -1]
    assert data.factor_kinds[0] == "ordinal"


def test_wrong_labels_of_a_file_name_the_table(tmp_path):
    (tmp_path / "wrong.csv").write_text("n\n1\ninf\n2\n3\n")
    with pytest.raises(ValueError, match=r"wrong.csv': 'n' needs finite .* Got inf in row 1"):
        open_file_of_bytes(tmp_path, labels=tmp_path / "wrong.csv")
    with pytest.raises(ValueError, match=r"a.npy': 'n' needs finite numbers.* Got inf in row 0"):
        open_file_of_bytes(tmp_path, labels={"n": [np.inf, 1, 2, 3]})


def test_integers_of_more_than_64_bits_in_a_table_are_texts(tmp_path):
    numbered(tmp_path)
    rows = "\n".join(f"{number}.png,{2**64 + number}" for number in (1, 2, 3, 4))
    (tmp_path / "labels.csv").write_text(f"file,hash\n{rows}")
    data = open_folder(tmp_path)
    assert data.factor_values["hash"].tolist() == [str(2**64 + number) for number in (1, 2, 3, 4)]


def test_paths_as_bytes(tmp_path):
    numbered(tmp_path)
    assert len(open_folder(os.fsencode(tmp_path))) == 4
