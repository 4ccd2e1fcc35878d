"""Folders of pictures: images, labels, cache, and errors."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_disent.datasets import (
    GroundTruth,
    Images,
    contact_sheet,
    load,
    open_file,
    open_folder,
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(folder))
    return folder


@pytest.fixture
def grid(tmp_path):
    """Write six pictures of one gray each, named after two factors, and a table of labels."""
    lines = []
    for side in ("left", "right"):
        for step in range(3):
            gray = 100 * (side == "right") + 20 * step
            (tmp_path / side).mkdir(exist_ok=True)
            Image.new("L", (10, 10), gray).save(tmp_path / side / f"{step}.png")
            lines.append(f"{side}/{step}.png,{side},{step / 2}")
    (tmp_path / "labels.csv").write_text("\n".join(["file,side,lift", *lines[::-1]]) + "\n")
    return tmp_path


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_folder(tmp_path):
    (tmp_path / "b").mkdir()
    half = np.zeros((20, 40, 3), np.uint8)
    half[:, 10:30] = (0, 0, 255)
    Image.fromarray(half).save(tmp_path / "b" / "blue.PNG")
    Image.new("RGB", (9, 9), (255, 0, 0)).save(tmp_path / "c.bmp")
    Image.new("L", (30, 30), 200).save(tmp_path / "a.webp", lossless=True)
    (tmp_path / "notes.txt").write_text("not an image")
    data = open_folder(tmp_path, image_size=8)
    assert isinstance(data, Images)
    assert (len(data), data.image_shape, data.name) == (3, (8, 8, 3), tmp_path.name)
    assert (data.images([0]) == 200).all()
    assert (data.images([1]) == (0, 0, 255)).all()  # the central square is blue
    assert (data.images([2]) == (255, 0, 0)).all()
    gray = load(str(tmp_path), image_size=8, channels=1)
    assert gray.images([2]).shape == (1, 8, 8, 1)
    assert (gray.images([2]) == 76).all()


def test_pictures_are_rotated_upright(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees, clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = open_folder(tmp_path, image_size=None, channels=1).images([0])[0, ..., 0]
    assert (upright[:, 4:] == 255).all()
    assert (upright[:, :4] == 0).all()


def test_crop(tmp_path):
    pixels = np.zeros((20, 30), np.uint8)
    pixels[7:13, 12:18] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = open_folder(tmp_path, image_size=None, channels=1, crop=6)
    assert data.image_shape == (6, 6, 1)
    assert (data.images([0]) == 255).all()
    with pytest.raises(ValueError, match=r"'a.png': `crop` cuts 21 pixels out of it, .* 30 x 20\."):
        open_folder(tmp_path, crop=21)


def test_cache_is_used_until_a_file_changes(tmp_path, cache, monkeypatch):
    for gray in (10, 20):
        Image.new("L", (8, 8), gray).save(tmp_path / f"{gray}.png")
    first = open_folder(tmp_path, image_size=8)
    entries = list(cache.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", None)  # decoding a picture raises an error
        assert (open_folder(tmp_path, image_size=8).images([0, 1]) == first.images([0, 1])).all()
    assert list(cache.iterdir()) == entries

    Image.new("L", (8, 8), 30).save(tmp_path / "20.png")
    os.utime(tmp_path / "20.png", ns=(1, 1))
    updated = open_folder(tmp_path, image_size=8)
    assert updated.images([0, 1])[:, 0, 0, 0].tolist() == [10, 30]
    assert len(list(cache.iterdir())) == 1  # the older entry is deleted
    (tmp_path / "10.png").unlink()
    assert len(open_folder(tmp_path, image_size=8)) == 1
    assert len(updated) == 2
    assert updated.images([0])[0, 0, 0, 0] == 10  # an open data set stays readable


def test_table_that_covers_a_grid(grid):
    data = open_folder(grid, image_size=None, channels=1)
    assert isinstance(data, GroundTruth)
    assert (data.factor_names, data.factor_sizes) == (("side", "lift"), (2, 3))
    assert data.factor_values["lift"].tolist() == [0, 0.5, 1]
    factors = data.factors(np.arange(6))
    assert (data.observe(factors)[:, 0, 0, 0] == 100 * factors[:, 0] + 20 * factors[:, 1]).all()
    assert load(grid, subset={"side": ["right"]}).factor_sizes == (1, 3)


def test_table_that_covers_no_grid(grid):
    (grid / "left" / "1.png").unlink()
    rewrite(grid / "labels.csv", "left/1.png,left,0.5\n", "")
    data = open_folder(grid)
    assert not isinstance(data, GroundTruth)
    assert data.factor_names == ("side", "lift")
    assert data.factors([1]).tolist() == [[0, 2]]
    with pytest.raises(ValueError, match="are for a grid of factors"):
        load(grid, subset={"side": ["right"]})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("left/1.png,left,0.5\n", "", "1 of 6 have none, first 'left/1.png'"),
        ("left/1.png", "left/9.png", "a missing image: 'left/9.png' in row 6"),
        ("left/1.png", "left/0.png", "Row 7 repeats 'left/0.png'"),
        ("left/1.png,left,0.5", "left/1.png,left", "needs 3 cells a row. Row 6: 2"),
        ("file,side,lift", "file,side,side", "different names. Got 'file', 'side', 'side'"),
        ("file,side,lift", "file,side,", "a header of different names"),
        ("left/1.png,left,0.5", "left/1.png,left,inf", "'lift' needs finite numbers.* Got inf"),
        ("left/1.png", '"left/1.png', "labels.csv' needs to be a table in UTF-8"),
    ],
)
def test_wrong_tables(grid, cache, old, new, message):
    rewrite(grid / "labels.csv", old, new)
    with pytest.raises(ValueError, match=message):
        open_folder(grid)
    rewrite(grid / "labels.csv", new or "file,side,lift\n", old or "file,side,lift\n")


def test_wrong_table_bytes(grid):
    for bad in (b"file,side\xff\n", b""):
        (grid / "labels.csv").write_bytes(bad)
        with pytest.raises(ValueError, match=r"labels\.csv' needs"):
            open_folder(grid)


def test_wrong_folder(tmp_path, cache):
    with pytest.raises(NotADirectoryError, match=r"needs to be a folder. Got '.*nowhere'"):
        open_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"at least one png, .* Got none in"):
        open_folder(tmp_path)
    with pytest.raises(ValueError, match=r"1 \(gray\) or 3 \(color\). Got 4"):
        open_folder(tmp_path, channels=4)
    with pytest.raises(ValueError, match=r"`image_size` must be an integer of at least 1. Got 0"):
        open_folder(tmp_path, image_size=0)
    with pytest.raises(ValueError, match=r"at most 178,956,970 pixels. Got 1000000000 x 1000000"):
        open_folder(tmp_path, image_size=10**9)


def test_mixed_sizes_need_a_size(tmp_path, capsys):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    Image.new("L", (9, 8)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"'b.png': it has 9 x 8 pixels, .* pass image_size"):
        open_folder(tmp_path, image_size=None)
    assert open_folder(tmp_path, image_size=8).image_shape == (8, 8, 3)
    (tmp_path / "c.png").write_bytes(b"no picture")
    for _ in range(2):  # decoded, and from the cache
        data = open_folder(tmp_path, image_size=None, on_error="skip")
        assert data.skipped == {"b.png": "another size", "c.png": "unreadable"}
        assert capsys.readouterr().err.endswith(", 2 skipped: 1 another size, 1 unreadable\n")


def test_a_broken_picture_leaves_no_cache_and_can_be_replaced(tmp_path, cache):
    Image.new("L", (8, 8), 5).save(tmp_path / "a.png")
    png = (tmp_path / "a.png").read_bytes()
    for broken in (png[: len(png) // 2], b"", b"\xff\xd8 no more", png[:-20] + b"x" * 20):
        (tmp_path / "torn.png").write_bytes(broken)
        with pytest.raises(ValueError, match=r"1 of 2 pictures .*'torn\.png': "):
            open_folder(tmp_path)
        assert not list(cache.iterdir())
    (tmp_path / "torn.png").write_bytes(png)
    assert (open_folder(tmp_path, image_size=8).images([0, 1]) == 5).all()


def test_decompression_bombs(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"'a\.png': it claims more than"):
        open_folder(tmp_path)


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    Image.new("L", (8, 8), 5).save(tmp_path / "a.png")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cache folder '.*file' cannot .* KERAS_DISENT_CACHE"):
        open_folder(tmp_path)


def test_kinds_of_factors_in_a_folder(grid):
    kinds = dict(zip(("side", "lift"), open_folder(grid).factor_kinds, strict=True))
    assert kinds == {"side": "categorical", "lift": "ordinal"}
    data = open_folder(grid, kinds={"lift": "continuous"})
    assert data.factor_kinds == ("categorical", "continuous")
    (grid / "labels.csv").unlink()
    with pytest.raises(ValueError, match=r"`kinds` needs factors.*has no labels. Got lift"):
        open_folder(grid, kinds={"lift": "continuous"})


def test_kinds_of_factors_in_a_file(tmp_path):
    images = np.zeros((30, 4, 4), "uint8")
    images[:, 0] = 255
    np.savez(tmp_path / "ages.npz", images=images, age=np.arange(30))
    assert open_file(tmp_path / "ages.npz").factor_kinds == ("ordinal",)
    assert load(tmp_path / "ages.npz", kinds={"age": "continuous"}).factor_kinds == ("continuous",)
    np.save(tmp_path / "plain.npy", images)
    with pytest.raises(ValueError, match=r"'plain' has no labels. Got age"):
        open_file(tmp_path / "plain.npy", kinds={"age": "continuous"})


def shades(folder, names, **options):
    """Write one gray picture per name, 20, 40, ... in this order."""
    for number, name in enumerate(names, 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * number).save(path, **options)


def grays(data):
    return data.images(range(len(data)))[:, 0, 0, 0].tolist()


def test_the_files_are_named_and_counted(tmp_path, capsys):
    shades(tmp_path, ["b.png", "a/x.jpg", "ä/日本.gif", "c.TIF"])
    (tmp_path / "old.psd").touch()
    (tmp_path / "notes.txt").touch()
    data = open_folder(tmp_path, image_size=8, channels=1)
    assert data.files == ("a/x.jpg", "b.png", "c.TIF", "ä/日本.gif")
    assert capsys.readouterr().err == "4 pictures, 2 skipped: 1 .psd, 1 .txt\n"
    (tmp_path / "old.psd").unlink()
    (tmp_path / "notes.txt").unlink()
    open_folder(tmp_path)
    assert capsys.readouterr().err == "4 pictures\n"


def test_hidden_files_and_links(tmp_path):
    shades(tmp_path, ["a.png", ".hidden.png", "._a.png", ".git/b.png", "__MACOSX/c.png", "d/e.png"])
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "d" / "up").symlink_to(tmp_path / "d")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    assert open_folder(tmp_path).files == ("a.png", "d/e.png", "link.png")


def test_a_folder_named_like_a_picture(tmp_path):
    shades(tmp_path, ["a.png", "folder.png/b.png"])
    assert open_folder(tmp_path).files == ("a.png", "folder.png/b.png")


def test_all_unreadable_pictures_are_named_or_left_out(tmp_path, cache, capsys):
    shades(tmp_path, [f"{number:02}.png" for number in range(10)])
    good = (tmp_path / "00.png").read_bytes()
    for number in range(20, 35):
        (tmp_path / f"{number}.png").write_bytes(good[: number - 3])
    with pytest.raises(ValueError, match=r"15 of 25 pictures cannot be used: '20.png': ") as caught:
        open_folder(tmp_path)
    text = str(caught.value)
    assert "'29.png'" in text
    assert "'30.png'" not in text
    lists = "; and 5 more, which `keras-disent data check` lists. on_error='skip' leaves them out."
    assert text.endswith(lists)
    assert list(caught.value.reasons) == [f"{number}.png" for number in range(20, 35)]
    assert not list(cache.iterdir())
    capsys.readouterr()
    for _ in range(2):  # decoded, and from the cache
        data = open_folder(tmp_path, image_size=8, channels=1, on_error="skip")
        assert capsys.readouterr().err == "10 pictures, 15 skipped: unreadable\n"
        assert data.files == tuple(f"{number:02}.png" for number in range(10))
        assert grays(data) == [20 * n for n in range(1, 11)]
        assert data.skipped == {f"{number}.png": "unreadable" for number in range(20, 35)}
    for path in tmp_path.glob("0*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"15 of 15 pictures"):
        open_folder(tmp_path, on_error="skip")
    with pytest.raises(ValueError, match=r"Unknown on_error 'ignore'. Choose from: raise, skip"):
        open_folder(tmp_path, on_error="ignore")


def test_subfolders_are_labels(tmp_path):
    shades(tmp_path, ["cat/1.png", "cat/2.png", "dog/big/3.png"])
    data = open_folder(tmp_path, labels="folders")
    assert data.factor_values["folder"].tolist() == ["cat", "dog/big"]
    assert data.factors(range(3)).ravel().tolist() == [0, 0, 1]
    shades(tmp_path, ["top.png"])
    with pytest.raises(ValueError, match=r"every picture in a subfolder. Got 'top\.png'"):
        open_folder(tmp_path, labels="folders")


TABLE = "file{s}age{s}kind{s}born{s}happy\n{rows}"
ROWS = [
    ("1.png", "3", "cat", "2024-01-31", "yes"),
    ("sub\\2.png", "", "dog", "2023-05-01", "no"),
    ("3", "4.5", "NA", "", "yes"),
]


@pytest.mark.parametrize(
    "table",
    [
        "Image_ID,n\na,1\nb,2\n",  # as data sets of faces and competitions have them
        "img path,n\nA.PNG,1\nB.png,2\n",  # of another system, which ignores case
        "photo,n\na.png,1\nb.png,2\n",
        ",file,n\n7,a.png,1\n3,b.png,2\n",  # rows of a data frame
        "file,n,,\na.png,1,,\nb.png,2,,\n",  # of a spreadsheet
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "Labels.CSV"])
def test_tables_as_people_have_them(tmp_path, table, name):
    shades(tmp_path, ["a.png", "b.png"])
    (tmp_path / name).write_text(table)
    data = open_folder(tmp_path, image_size=8)
    assert data.factor_names == ("n",)
    assert data.factor_values["n"].tolist() == [1, 2]
    assert data.files == ("a.png", "b.png")


def test_tables_without_a_header_are_refused(tmp_path):
    shades(tmp_path, ["a.png", "b.png"])
    (tmp_path / "labels.csv").write_text("a.png,1\nb.png,2\n")
    with pytest.raises(ValueError, match=r"needs a column `file` .* Got 'a.png', '1'"):
        open_folder(tmp_path, on_error="skip")
    (tmp_path / "labels.csv").write_text("file,n\na.png,1\nb.png,2\n")
    with pytest.raises(TypeError, match=r"`kinds` is \{factor: kind\}. Got \['n'\]"):
        open_folder(tmp_path, kinds=["n"])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_tables_of_other_encodings_are_refused(tmp_path, encoding):
    shades(tmp_path, ["1.png"])
    (tmp_path / "labels.csv").write_bytes("file,größe\n1.png,2\n".encode(encoding))
    with pytest.raises(ValueError, match=r"labels.csv' needs .* UTF-8 or UTF-16.*save .* as UTF-8"):
        open_folder(tmp_path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_any_columns(tmp_path, separator, encoding):
    shades(tmp_path, ["1.png", "sub/2.png", "3.png"])
    rows = "\n".join(separator.join(row) for row in ROWS)
    name = "labels.tsv" if separator == "\t" else "labels.csv"
    (tmp_path / name).write_bytes(TABLE.format(s=separator, rows=rows).encode(encoding))
    data = open_folder(tmp_path)
    assert data.files == ("1.png", "3.png", "sub/2.png")
    assert data.factors(range(3)).tolist() == [[0, 0, 1, 1], [1, -1, -1, 1], [-1, 1, 0, 0]]
    assert data.factor_values["age"].tolist() == [3, 4.5]
    assert data.factor_values["happy"].tolist() == [False, True]
    assert data.factor_values["born"].dtype.kind == "M"
    assert data.gaps == {"age": 1, "kind": 1, "born": 1}


def test_tables_elsewhere_and_in_memory(tmp_path):
    pictures = tmp_path / "pictures"
    shades(pictures, ["1.png", "2.png"])
    table = {"Image": ["2.png", "1.png"], "n": [5, 6]}
    (tmp_path / "my.csv").write_text("Image,n\n2.png,5\n1.png,6\n")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table)
    frame.to_parquet(tmp_path / "my.parquet")
    for labels in (table, frame, tmp_path / "my.csv", str(tmp_path / "my.parquet")):
        data = open_folder(pictures, labels=labels)
        values = data.factor_values["n"][data.factors([0, 1])[:, 0]].tolist()
        assert dict(zip(data.files, values, strict=True)) == {"1.png": 6, "2.png": 5}
    for name in ("labels.csv", "labels.tsv"):
        (pictures / name).write_text("file,n\n1.png,1\n2.png,2\n")
    with pytest.raises(ValueError, match=r"one table of labels. Got 'labels.csv' and 'labels.tsv'"):
        open_folder(pictures)
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad.parquet' needs to be a Parquet file"):
        open_folder(pictures, labels=tmp_path / "bad.parquet")
    with pytest.raises(FileNotFoundError):
        open_folder(pictures, labels=tmp_path / "none.csv")


def test_pictures_and_rows_that_do_not_match_can_be_left_out(tmp_path, capsys):
    shades(tmp_path, ["1.png", "2.png", "3.png"])
    (tmp_path / "labels.csv").write_text("file,n\n3.png,7\n1.png,8\n9.png,9\n8.png,9\n")
    with pytest.raises(ValueError, match=r"missing image: '9.png' in row 4 \(and 1 more\)"):
        open_folder(tmp_path)
    data = open_folder(tmp_path, channels=1, on_error="skip")
    assert isinstance(data, GroundTruth)  # in the order of the grid
    assert data.files == ("3.png", "1.png")
    assert grays(data) == [60, 20]
    assert data.factor_values["n"].tolist() == [7, 8]
    told = "2 pictures, 1 skipped: without a row of labels; 2 rows of labels without a picture\n"
    assert capsys.readouterr().err == told
    assert data.skipped == {
        "2.png": "without a row of labels",
        "9.png": "row without a picture",
        "8.png": "row without a picture",
    }


def test_names_in_another_unicode_form_are_found(tmp_path):
    shades(tmp_path, [unicodedata.normalize("NFD", "é.png")])
    (tmp_path / "labels.csv").write_text(
        "file,n\n" + unicodedata.normalize("NFC", "é.png") + ",1\n", encoding="utf-8"
    )
    assert open_folder(tmp_path).factor_names == ("n",)


def test_names_that_are_no_text(tmp_path):
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    Image.new("L", (8, 8), 40).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", raw)
    data = open_folder(tmp_path)
    assert len(data.files) == 1
    with open(raw, "wb") as file:
        file.write(b"no picture")
    with pytest.raises(ValueError, match=r"1 of 1 pictures"):
        open_folder(tmp_path)


def test_pages_of_tiff_files(tmp_path):
    pages = [Image.new("L", (8, 8), gray) for gray in (50, 100, 150)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    shades(tmp_path, ["z.png"])
    assert grays(open_folder(tmp_path, channels=1)) == [50, 20]
    (tmp_path / "labels.csv").write_text("file,n\nstack.tif,1\nz.png,2\n")
    data = open_folder(tmp_path, channels=1, pages="all")
    assert data.files == ("stack.tif#0", "stack.tif#1", "stack.tif#2", "z.png")
    assert grays(data) == [50, 100, 150, 20]
    assert data.factors(range(4)).ravel().tolist() == [0, 0, 0, 1]
    (tmp_path / "labels.csv").write_text("file,n\nstack,1\nz,2\n")
    assert open_folder(tmp_path, channels=1, pages="all").files == data.files
    rows = "file,n\nstack.tif#2,7\nstack.tif,1\nz.png,2\nstack.tif#0,5\n"
    (tmp_path / "labels.csv").write_text(rows)
    data = open_folder(tmp_path, channels=1, pages="all")
    assert data.files == ("stack.tif#1", "z.png", "stack.tif#0", "stack.tif#2")  # 1, 2, 5, 7
    assert grays(data) == [100, 20, 50, 150]
    (tmp_path / "labels.csv").write_text("file,n\nstack.tif#2,7\nstack.tif#1,6\n")
    data = open_folder(tmp_path, channels=1, pages="all", on_error="skip")
    assert (data.files, grays(data)) == (("stack.tif#1", "stack.tif#2"), [100, 150])
    with pytest.raises(ValueError, match=r"'stack.tif#2' in row 2 .* pages='all' takes every page"):
        open_folder(tmp_path)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_pictures_that_are_not_square(tmp_path, fit):
    pixels = np.full((8, 16), 100, np.uint8)
    pixels[:, 4:12] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = open_folder(tmp_path, image_size=16, channels=1, fit=fit, background=(9, 9, 9))
    image = data.images([0])[0, ..., 0]
    if fit == "crop":
        assert (image == 200).all()
    elif fit == "pad":
        assert (image[:3] == 9).all()
        assert image[8, 1] == 100
    else:
        assert image[0, 0] == image[15, 0] == 100
        assert image[0, 8] == 200


def test_a_change_of_content_with_the_same_size_and_time_is_noticed(tmp_path):
    path = tmp_path / "a.bmp"
    Image.new("L", (8, 8), 100).save(path)
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    assert grays(open_folder(tmp_path, channels=1)) == [100]
    Image.new("L", (8, 8), 200).save(path)
    os.utime(path, ns=times)
    assert grays(open_folder(tmp_path, channels=1)) == [200]


def test_masks_of_small_numbers_are_told(tmp_path):
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"bytes 0 and 1 only, .* pass pixel_range=\(0, 1\)"):
        open_folder(tmp_path, image_size=None, channels=1)
    data = open_folder(tmp_path, image_size=None, channels=1, pixel_range=(0, 1))
    assert data.images([0]).max() == 255
    assert data.pictures["pixel_range"] == [0.0, 1.0]
    Image.fromarray(9 * np.eye(8, dtype=np.uint8)).save(tmp_path / "mask.png")
    with pytest.warns(UserWarning, match=r"nearly black: no byte above 9 of 255.*pixel_range=\(0"):
        open_folder(tmp_path, image_size=None, channels=1)


def test_a_sheet_shows_labels_or_names(tmp_path):
    shades(tmp_path, [f"kind {number % 2}/picture{number}.png" for number in range(5)])
    texts = {t.get_text() for t in contact_sheet(open_folder(tmp_path)).axes[0].texts}
    assert {"all images", "picture0.png", "picture4.png"} <= texts
    labeled = open_folder(tmp_path, labels="folders")
    texts = [t.get_text() for t in contact_sheet(labeled).axes[0].texts]
    assert (texts.count("kind 0"), texts.count("kind 1")) == (3, 2)
