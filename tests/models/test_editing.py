"""Edit pictures by names of latents, with pictures of any kind and warnings of far values."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image
from support.checks import LATENTS, compiled, images, on, small

from keras_disent import load_model, networks
from keras_disent.datasets import Sprites, labeled
from keras_disent.models.editing import Editing
from keras_disent.models.saving import write_latent_names

COLOR = (8, 8, 3)


@pytest.fixture(scope="module")
def model():
    return small("vae", shape=COLOR, **flat(COLOR))


def kinds(pixels, folder):
    """Return one picture, (8, 8, 3) uint8, in all the ways in which it may come."""
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    (folder / "a.png").write_bytes(stream.getvalue())
    return {
        "path": folder / "a.png",
        "name": str(folder / "a.png"),
        "bytes": stream.getvalue(),
        "file": io.BytesIO(stream.getvalue()),
        "Pillow": image,
        "array": pixels,
        "floats": pixels / 255,
        "list": [image],
    }


def test_a_picture_may_come_in_many_ways(model, tmp_path):
    pixels = images(1, COLOR)[0]
    expected = model.edit(pixels, {0: 1.0})
    for name, picture in kinds(pixels, tmp_path).items():
        edited = model.edit(picture, {0: 1.0})
        if name == "list":
            assert edited.shape == (1, *COLOR)
            edited = edited[0]
        np.testing.assert_allclose(edited, expected, atol=1e-6, err_msg=name)


def test_pictures_of_other_sizes_are_cropped_and_resized(model):
    large = np.repeat(np.repeat(images(1, COLOR)[0], 4, axis=0), 4, axis=1)
    wide = np.pad(large, ((0, 0), (9, 9), (0, 0)))  # cropped to the square in its middle
    expected = model.edit(Image.fromarray(large), {})
    for picture in (
        large,
        wide,
        np.float32(large / 255),
        np.dstack([large, 0 * large[..., :1] + 255]),
    ):
        np.testing.assert_allclose(model.edit(picture, {}), expected, atol=1e-5)
    gray = large[..., 0]
    expected = model.edit(Image.fromarray(gray), {})
    for picture in (gray, gray[..., None], gray / 255):
        np.testing.assert_allclose(model.edit(picture, {}), expected, atol=1e-5)
    assert model.edit([large, images(1, COLOR)[0], gray / 255], {}).shape == (3, *COLOR)


WRONG = {
    "name": (
        {"hue": 1},
        ValueError,
        r"Unknown latent 'hue'\. Choose from: z0, z1, z2, or a number",
    ),
    "number": (
        {3: 1},
        ValueError,
        r"Unknown latent 3\. Choose from: z0, z1, z2, or a number from 0",
    ),
    "text": ({"z0": "far"}, ValueError, r"'z0' is set to a finite number\. Got 'far'\."),
    "nan": ({"z0": np.nan}, ValueError, r"'z0' is set to a finite number\. Got nan\."),
    "two": (
        {"z0": [1, 2]},
        ValueError,
        r"'z0' needs one value, or one for each of the 1 pict.*2\.",
    ),
    "no dict": ([1.0], TypeError, r"`values` is a dict .* such as \{'z0': 1\.5\}\. Got list\."),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_told(model, name):
    values, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        model.edit(images(1, COLOR)[0], values)


def test_what_is_no_picture_is_told_in_a_line(model, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    for picture, error, message in [
        (tmp_path / "a.png", ValueError, r"a\.png' as a picture: its content is none of PNG"),
        (b"no picture", ValueError, r"Cannot read this as a picture: its content is none of PNG"),
        (tmp_path / "b.png", FileNotFoundError, r"b\.png"),
        (3, TypeError, r"A picture is a path, .* a Pillow image or an array\. Got int\."),
        (np.zeros((4, 4, 5)), TypeError, r"is \(height, width\), or has 1 to 4 .*\(4, 4, 5\)"),
        ([], ValueError, r"`pictures` must hold at least one picture"),
    ]:
        with pytest.raises(error, match=message) as caught:
            model.edit(picture, {})
        assert "\n" not in str(caught.value)
    pixels = images(2, COLOR)
    with pytest.raises(ValueError, match=r"`dtype` is 'float32' or 'uint8'\. Got 'int8'"):
        model.edit(pixels[0], {}, dtype="int8")
    with pytest.raises(ValueError, match=r"A code is 3 finite numbers\. Got \[1\. 2\.\]"):
        model.nearest([1, 2], pixels)
    with pytest.raises(ValueError, match=r"One picture or code is needed here\. Got 2 pictures"):
        model.interpolate(pixels, pixels[0])
    with pytest.raises(ValueError, match=r"`n` must be an integer of at least 2\. Got 1\."):
        model.interpolate(pixels[0], pixels[1], 1)


NAMES = {
    "too few": (["a", "b"], r"`latent_names` needs 3 names, .* Got 2\."),
    "a text": ("abc", r"`latent_names` needs 3 names"),
    "no list": (3, r"`latent_names` needs 3 names"),
    "equal": (["a", "b", "a"], r"needs different names\. Got 'a' twice\."),
    "equal to another": ({0: "z1"}, r"needs different names\. Got 'z1' twice\."),
    "empty": (
        ["a", "b", " "],
        r"a text of one line, neither a number nor with '=' in it\. Got ' '",
    ),
    "number": ({0: "-3"}, r"neither a number nor"),
    "lines": ({0: "a\nb"}, r"a text of one line"),
    "equals sign": ({0: "a=b"}, r"'=' in it\. Got 'a=b'"),
    "no text": ({0: 3}, r"is a text of one line.* Got 3"),
    "unknown": ({"hue": "a"}, r"Unknown latent 'hue'\. Choose from: z0, z1, z2"),
}


@pytest.mark.parametrize("names", NAMES)
def test_wrong_names_are_told_and_change_nothing(names):
    model = small("vae")
    names, message = NAMES[names]
    with pytest.raises(ValueError, match=message):
        model.latent_names = names
    assert model.latent_names == ("z0", "z1", "z2")


def test_concepts_name_the_latents_of_a_causal_vae():
    model = small("causal_vae")
    assert model.latent_names == tuple(model.concept_names)
    double = type(model)((8, 8, 1), ("light", "shadow"), 2, encoder="mlp", decoder="mlp")
    assert double.latent_names == ("light_0", "light_1", "shadow_0", "shadow_1")


def test_values_far_outside_of_the_data_are_told(model):
    x = images(9, COLOR)
    model.measure_latents(x)
    low, high = model.latent_ranges[1]
    edge = high + 0.4 * (high - low)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.edit(x[0], {1: edge})
        model.edit(x[0], {1: low})
    with pytest.warns(UserWarning, match=r"'z1' = .* is far outside of the data") as caught:
        model.edit(x[0], {1: edge + 0.2 * (high - low)})
    (warning,) = (w for w in caught if "far outside" in str(w.message))
    assert warning.filename == __file__
    assert f"where it is from {low:.4g} to {high:.4g}: " in str(warning.message)
    with pytest.warns(UserWarning, match="'z1' = "):
        model.edit(x, {1: 2 * (low - high)}, relative=True)


def test_ranges_are_those_of_the_present_weights(tmp_path):
    model = compiled(small("vae"))
    model.measure_latents(images(9))
    assert model.latent_ranges is not None
    model.fit(images(8), batch_size=8, verbose=0)
    assert model.latent_ranges is None
    model.save(tmp_path / "a.keras")
    assert load_model(tmp_path / "a.keras").latent_ranges is None


def test_information_is_measured_where_there_are_nats(tmp_path):
    x = images(9)
    model, other = small("vae"), small("autoencoder")
    assert model.latent_information is None
    for measured in (model, other):
        measured.measure_latents(x)
    assert model.latent_information.tolist() == model.latent_importance(x).tolist()
    assert other.latent_information is None
    model.save(tmp_path / "a.keras")
    loaded = load_model(tmp_path / "a.keras")
    assert loaded.latent_information.tolist() == model.latent_information.tolist()


def test_names_are_suggested_by_what_latents_tell():
    rng = np.random.default_rng(0)
    size, hue = rng.integers(4, size=(2, 2000))
    noise, angle = rng.normal(size=2000), rng.random(2000)
    codes = np.stack(
        [noise, size + 0.01 * noise, 0.5 * hue, 0.001 * size, hue + rng.normal(size=2000), angle]
    )
    data = labeled(
        np.full((2000, 1, 1), 7, "uint8"),
        {"size": size, "hue": hue, "angle": angle, "constant": np.zeros(2000, int)},
    )

    class Known(Editing):
        """Encode the images of the data set, in order, as the codes above."""

        latent_dim, image_shape = 6, data.image_shape

        def encode(self, x):
            return codes.T.astype("float32")

        def decode(self, x):
            return np.clip(0.5 + 0.1 * x.sum(axis=1), 0, 1)[:, None, None, None]

    assert Known().suggest_latent_names(data) == ("z0", "size", "hue", "z3", "hue_2", "angle")


def test_names_need_factors(model):
    with pytest.raises(
        ValueError, match=r"Names are suggested from the factors .* none that varies"
    ):
        model.suggest_latent_names(labeled(images(5, COLOR), {"same": [1] * 5}))


def test_images_of_a_data_set_are_looked_up_by_index():
    model = small("vae", shape=(32, 32, 1), **flat((32, 32, 1)))
    data = Sprites(32).subgrid({"shape": ["heart"], "orientation": [0]})  # 6 x 32 x 32
    codes = model.encode(data.images(np.arange(len(data))))
    lowest, highest = model.extremes(1, data, 3)
    assert lowest[0] == codes[:, 1].argmin()
    assert highest[0] == codes[:, 1].argmax()
    found = model.nearest(data.images([700])[0], data, 2, n_samples=len(data))
    assert found[0] == 700
    few = model.nearest(codes[700], data, 2, n_samples=50, seed=1)
    assert (few == model.nearest(codes[700], data, 2, n_samples=50, seed=1)).all()
    assert (few != model.nearest(codes[700], data, 2, n_samples=50, seed=2)).any()


def flat(shape):
    return {
        "encoder": networks.mlp_encoder(shape, width=0.02, seed=1),
        "decoder": networks.mlp_decoder(shape, LATENTS, width=0.02, seed=2),
    }


@on("torch")
def test_names_in_a_file_change_nothing_else(tmp_path):
    model = compiled(small("factor_vae"))
    model.fit(images(8), batch_size=8, verbose=0)
    model.save(tmp_path / "a.keras")
    write_latent_names(tmp_path / "a.keras", ["a", "b", "c"])
    loaded = load_model(tmp_path / "a.keras")
    assert loaded.latent_names == ("a", "b", "c")
    for left, right in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())
    loaded.fit(images(8), batch_size=8, verbose=0)
    model.fit(images(8), batch_size=8, verbose=0)
    for left, right in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())


def test_a_model_that_only_decodes_says_so(model):
    class Decoder(Editing):
        image_shape, latent_dim = COLOR, LATENTS

    with pytest.raises(TypeError, match="Decoder has no `encode`, so that it can decode codes and"):
        Decoder().edit(images(1, COLOR)[0], {})


def test_a_model_says_what_it_is():
    model = compiled(small("factor_vae"))
    assert repr(model) == "<FactorVAE of images (8, 8, 1): 3 latents>"
    model.latent_names = ("hue", "<size>", "z2")
    assert repr(model) == "<FactorVAE of images (8, 8, 1): hue, <size>, z2>"
    page = model._repr_html_()
    assert "<td>hue, &lt;size&gt;, z2</td>" in page
    assert f"encoder {model.encoder.count_params():,}" in page
    assert f"<td>gamma</td><td>{model.gamma}</td>" in page
