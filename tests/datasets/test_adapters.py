"""Arrays and data sets of other libraries, each with the real library."""

import io

import h5py
import numpy as np
import pytest
from PIL import Image

from keras_disent.datasets import Images, from_examples, labeled, open_file

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (6, 8, 7, 3), dtype=np.uint8)
GRAY = COLOR[..., :1]
NAMES = ["cat", "dog", "cat", "dog", "dog", "cat"]
FIRST = np.moveaxis(COLOR, -1, 1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def check(data, expected=COLOR, labels=None):
    np.testing.assert_array_equal(data.images(np.arange(6)), expected)
    if labels is not None:
        (name,) = data.factor_names
        assert data.factor_values[name][data.factors(np.arange(6))[:, 0]].tolist() == labels


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# -- arrays ---------------------------------------------------------------------------------------


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    check(Images(torch.tensor(COLOR)))
    floats = torch.tensor(COLOR / 255, dtype=torch.float32, requires_grad=True)
    check(Images(floats))
    half = Images(floats.bfloat16()).images(np.arange(6)).astype(int)
    assert np.abs(half - COLOR).max() <= 1
    with pytest.raises(ValueError, match=r"data_format='channels_first'"):
        Images(torch.tensor(FIRST.copy()))
    check(Images(torch.tensor(FIRST.copy()), data_format="channels_first"))
    check(Images(list(floats)))
    with pytest.raises(TypeError, match=r"Got TensorDataset: pass from_examples"):
        Images(torch.utils.data.TensorDataset(floats))
    check(
        labeled(torch.tensor(COLOR), {"n": torch.tensor([3, 1, 3, 1, 1, 3])}),
        labels=[3, 1, 3, 1, 1, 3],
    )


@pytest.mark.parametrize("library", ["jax.numpy", "tensorflow"])
def test_tensors(library):
    module = pytest.importorskip(library)
    make = module.asarray if library == "jax.numpy" else module.constant
    check(Images(make(COLOR)))
    check(Images(make((COLOR / 255).astype("float32"))))


def test_h5py_and_zarr(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = COLOR
        check(Images(file["x"]))
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=COLOR.shape, dtype="uint8", chunks=(4, 8, 7, 3)
    )
    array[:] = COLOR
    check(Images(array))
    check(open_file(tmp_path / "a.zarr"))
    group = zarr.open_group(tmp_path / "b.zarr", mode="w")
    stored = group.create_array("images", shape=FIRST.shape, dtype="float32")
    stored[:] = FIRST / 255
    labels = group.create_array("age", data=np.arange(len(FIRST)))
    data = open_file(tmp_path / "b.zarr", data_format="channels_first")
    np.testing.assert_array_equal(data.images(range(len(COLOR))), COLOR)
    assert data.factor_names == ("age",)
    assert labeled(COLOR, {"age": labels}).factor_sizes == (len(COLOR),)


# -- examples -------------------------------------------------------------------------------------


def test_hugging_face(cache):
    datasets = pytest.importorskip("datasets")
    if not hasattr(datasets, "Features"):  # these tests' own folder, as it seems to Python
        pytest.skip("Hugging Face's datasets is not installed")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "size": datasets.Value("float32"),
        }
    )
    table = {
        "image": [Image.fromarray(pixels) for pixels in COLOR],
        "kind": [int(name == "dog") for name in NAMES],
        "size": [0.5, None, 1, 2, 2, 0.5],
    }
    source = datasets.Dataset.from_dict(table, features=features)
    check(from_examples(source, labels="kind"), labels=NAMES)
    data = from_examples(source)
    assert data.factor_names == ("kind", "size")
    assert data.gaps == {"size": 1}
    undecoded = source.cast_column("image", datasets.Image(decode=False))
    check(from_examples(undecoded, labels=()))
    assert from_examples(source, image_size=4, channels=1).image_shape == (4, 4, 1)
    with pytest.raises(TypeError, match=r"take one of 'train'"):
        from_examples(datasets.DatasetDict({"train": source}))
    with pytest.raises(TypeError, match=r"must end"):
        from_examples(source.to_iterable_dataset())
    with pytest.raises(ValueError, match=r"a name from 'image', 'kind', 'size'. Got 'picture'"):
        from_examples(source, "picture")
    with pytest.raises(ValueError, match=r"a label 'age'"):
        from_examples(source, labels=["age"])
    assert not list(cache.glob("*"))


def test_torch_datasets():
    torch = pytest.importorskip("torch")
    tensors = torch.utils.data.TensorDataset(
        torch.tensor(FIRST / 255), torch.tensor([1, 2, 1, 2, 2, 1])
    )
    check(from_examples(tensors, data_format="channels_first"), labels=[1, 2, 1, 2, 2, 1])
    with pytest.raises(ValueError, match=r"Example 0: .*data_format='channels_first'"):
        from_examples(tensors)

    class Pictures(torch.utils.data.Dataset):
        classes = ("cat", "dog")

        def __len__(self):
            return 6

        def __getitem__(self, index):
            return Image.fromarray(COLOR[index]), int(NAMES[index] == "dog")

    check(from_examples(Pictures()), labels=NAMES)
    check(
        from_examples(torch.utils.data.Subset(Pictures(), range(6))),
        labels=[n == "dog" for n in NAMES],
    )

    with pytest.raises(TypeError, match=r"pass source\.dataset\."):
        from_examples(torch.utils.data.DataLoader(Pictures()))

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(COLOR)

    with pytest.raises(TypeError, match=r"must end: .*itertools\.islice"):
        from_examples(Stream())


def test_tf_data():
    tensorflow = pytest.importorskip("tensorflow")
    columns = {"image": COLOR, "label_kind": NAMES}
    source = tensorflow.data.Dataset.from_tensor_slices(columns)
    check(from_examples(source), labels=NAMES)
    check(from_examples(source.filter(lambda example: True)), labels=NAMES)
    pairs = tensorflow.data.Dataset.from_tensor_slices((GRAY / 255, range(6)))
    check(from_examples(pairs), GRAY, labels=list(range(6)))
    with pytest.raises(TypeError, match=r"source\.take\(10_000\)"):
        from_examples(source.repeat())
    with pytest.raises(ValueError, match=r"a batch of shape \(2, 8, 7, 3\): .*source\.unbatch\(\)"):
        from_examples(source.batch(2))
    everything = next(iter(source.batch(6)))  # as TensorFlow Datasets gives them with batch_size=-1
    check(from_examples(everything), labels=NAMES)
    check(from_examples({"image": COLOR, "kind": NAMES, "size": 6}), labels=NAMES)
    with pytest.raises(ValueError, match=r"columns of equal length"):
        from_examples({"image": COLOR, "kind": NAMES[:4]})


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_with_a_column_of_images(library, tmp_path):
    module = pytest.importorskip(library)
    paths = []
    for number, pixels in enumerate(COLOR):
        (tmp_path / f"{number}.png").write_bytes(png(pixels))
        paths.append(str(tmp_path / f"{number}.png"))
    for images in (paths, [png(pixels) for pixels in COLOR]):
        frame = module.DataFrame({"image": images, "kind": NAMES})
        check(from_examples(frame), labels=NAMES)


def test_columns_of_arrays():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    check(Images(pandas.Series(list(COLOR))))
    check(Images(polars.Series([(i / 255).tolist() for i in COLOR])))


def test_labels_that_the_first_example_lacks():
    examples = [
        {"image": pixels, "age": n or None, "tags": ["a", "b"][: n % 3], "note": None}
        for n, pixels in enumerate(COLOR)
    ]
    with pytest.warns(UserWarning, match=r"no number or text is no label: 'tags' \(list\)"):
        data = from_examples(examples)
    assert data.factor_names == ("age",)
    assert data.gaps == {"age": 1}
    assert from_examples(examples, labels=["tags"]).factor_names == ("tags=a", "tags=b")
    late = [{"image": pixels} | ({"age": n} if n > 3 else {}) for n, pixels in enumerate(COLOR)]
    assert from_examples(late).gaps == {"age": 4}
    with pytest.raises(ValueError, match=r"Example 0 needs a label 'age'. Got none"):
        from_examples(late, labels="age")


def test_lists():
    check(from_examples([Image.fromarray(pixels) for pixels in COLOR]))
    check(from_examples(list(COLOR)))
    check(
        from_examples([[pixels, name] for pixels, name in zip(COLOR, NAMES, strict=True)]),
        labels=NAMES,
    )
    check(from_examples([{"x": pixels} for pixels in GRAY[..., 0]], "x"), GRAY)
    with pytest.raises(ValueError, match=r"need `image_size`. Got \(4, 7, 3\) in example 1"):
        from_examples([COLOR[0], COLOR[1, :4]])
    assert from_examples([COLOR[0], COLOR[1, :4]], image_size=4).image_shape == (4, 4, 3)
    with pytest.raises(ValueError, match=r"at least one example"):
        from_examples([])
    with pytest.raises(TypeError, match=r"Got int"):
        from_examples(3)
    with pytest.raises(ValueError, match=r"Cannot read 'example 1' as a picture"):
        from_examples([png(COLOR[0]), b"nothing"])
    hot = [(pixels, np.eye(3)[n % 3]) for n, pixels in enumerate(COLOR)]
    with pytest.warns(UserWarning, match=r"'label' \(an array of shape \(3,\)\).* the argmax"):
        from_examples(hot)
    with pytest.raises(ValueError, match=r"as 'label'. Got an array of shape \(3,\): take the arg"):
        from_examples(hot, labels="label")
    with pytest.raises(TypeError, match=r"Got Images, which is a data set already: pass images"):
        labeled(Images(COLOR), {"n": range(len(COLOR))})
    with pytest.raises(TypeError, match=r"several examples. Got 'a.png': pass a list"):
        from_examples("a.png")
    for missing in (None, float("nan"), "", {"bytes": None, "path": None}):
        with pytest.raises(ValueError, match=r"Example 1 needs an image. Got .*: leave such ex"):
            from_examples([COLOR[0], missing])
    with pytest.raises(TypeError, match=r"Example 0: .* pass pixel_range="):
        from_examples([COLOR[0].astype(int)])
    check(from_examples(list(COLOR.astype(int)), pixel_range=(0, 255)))


def test_wrong_paths_are_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    for image in (str(tmp_path / "a.png"), tmp_path / "a.png", {"path": str(tmp_path / "a.png")}):
        with pytest.raises(ValueError, match=r"Cannot read 'example 1, .*a\.png' as a picture"):
            from_examples([png(COLOR[0]), image])
    with pytest.raises(FileNotFoundError, match=r"b\.png"):
        from_examples([str(tmp_path / "b.png")])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_categories_of_a_frame_keep_their_order(library):
    module = pytest.importorskip(library)
    sizes, order = ["lo", "hi", None, "mid", "lo", "hi"], ["none", "lo", "mid", "hi"]
    if library == "pandas":
        column = module.Categorical(sizes, order, ordered=True)
    else:
        column = module.Series(sizes, dtype=module.Enum(order))
    tags = [["a"], ["a", "b"], [], ["b"], ["a"], ["b"]]
    frame = module.DataFrame({"image": [png(i) for i in COLOR], "size": column, "tags": tags})
    with pytest.warns(UserWarning, match="is no label: 'tags'"):
        data = from_examples(frame)
    named = from_examples(frame, labels=["size", "tags"])
    for source in (data, named):
        assert source.factor_values["size"].tolist() == ["lo", "mid", "hi"]
        assert source.factors(range(6))[:, 0].tolist() == [0, 2, -1, 1, 0, 2]
        assert source.factor_kinds[0] == "ordinal"
    assert named.factors(range(6))[:, 1:].T.tolist() == [[1, 1, 0, 0, 1, 0], [0, 1, 0, 1, 0, 1]]


def test_labels_of_pandas_beside_images():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": [png(i) for i in COLOR]})
    frame["age"] = pandas.cut([1, 5, 9, 3, 30, 2], [0, 3, 6, 10])
    frame["month"] = pandas.period_range("2024-01", periods=6, freq="M")
    frame["n"] = pandas.array([1, 2, None, 1, 2, 1], "Int64")
    for options in ({}, {"labels": ["age", "month", "n"]}):
        data = from_examples(frame, **options)
        assert data.factor_values["age"].tolist() == ["(0, 3]", "(3, 6]", "(6, 10]"]
        assert data.factors(range(6))[:, 0].tolist() == [0, 1, 2, 0, -1, 0]
        assert data.factors(range(6))[:, 1].tolist() == list(range(6))
        assert data.gaps == {"age": 1, "n": 1}
        assert data.factor_kinds == ("ordinal", "ordinal", "ordinal")


@pytest.mark.parametrize(
    "make",
    [
        lambda size: Images(COLOR).resized(size),
        lambda size: from_examples(list(COLOR), image_size=size),
    ],
)
def test_images_that_are_too_large(make):
    with pytest.raises(ValueError, match=r"`image_size` needs images of at most 178,956,970 pix"):
        make(10**9)


@pytest.mark.parametrize("test", ["x", None, 0, 1, -1, 0.01, float("nan"), [0.5]])
def test_proportions_that_are_refused(test):
    with pytest.raises(ValueError, match=r"`test` needs a proportion between 0 and 1"):
        Images(COLOR).split(test)
