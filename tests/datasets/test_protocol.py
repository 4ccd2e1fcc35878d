"""The protocol of data sets: indices and factors, sampling, batches."""

import base64
import importlib
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_disent.datasets import DATASETS, GroundTruth, Images, Sprites, labeled, load

SIZES = (3, 6, 40, 32, 32)


def test_sampling():
    data = Sprites()
    factors = data.sample_factors(5000, np.random.default_rng(0))
    assert factors.shape == (5000, 5)
    assert factors.mean(0) == pytest.approx((np.array(SIZES) - 1) / 2, rel=0.05)
    assert (factors.max(0) == np.array(SIZES) - 1).all()
    fixed = data.sample_factors(
        5000, np.random.default_rng(0), {"scale": 4, "shape": factors[:, 0]}
    )
    assert (fixed[:, 1] == 4).all()
    assert (np.delete(fixed, 1, 1) == np.delete(factors, 1, 1)).all()
    with pytest.raises(ValueError, match=r"names from shape, .*. Got 'size'"):
        data.sample_factors(1, np.random.default_rng(0), {"size": 1})
    with pytest.raises(ValueError, match=r"`fixed` needs steps from 0 to 5 for 'scale'. Got 6"):
        data.sample_factors(1, np.random.default_rng(0), {"scale": 6})
    with pytest.raises(TypeError, match=r"`fixed` needs integers for 'scale'. Got float64"):
        data.sample_factors(1, np.random.default_rng(0), {"scale": 0.5})


def test_unknown_names_list_the_data_sets():
    assert isinstance(load("sprites"), Sprites)
    assert all(hasattr(make, "card") for make in DATASETS.values())
    with pytest.raises(ValueError, match=r"Unknown data set 'smile'. Choose from: .*sprites"):
        load("smile")


def test_custom_data_set():
    class Ramp(GroundTruth):
        name, factor_names, factor_sizes = "ramp", ("row", "gray"), (2, 5)
        image_shape = (4, 4, 1)

        def images(self, indices):
            row, gray = self.factors(indices).T
            images = np.zeros((len(row), 4, 4, 1), np.uint8)
            images[np.arange(len(row)), row] = gray[:, None, None]
            return images

    data = Ramp()
    assert len(data) == 10
    assert data.factor_values["gray"].tolist() == [0, 1, 2, 3, 4]
    assert data.observe([[1, 3]])[0, :, 0, 0].tolist() == [0, 3, 0, 0]


def test_batches_are_a_function_of_seed_and_step():
    data = Sprites(32)
    batches = data.batches(8, seed=3, steps=4)
    expected = data.images(np.random.default_rng([3, 5]).integers(len(data), size=8))
    assert (batches.at(5) == expected).all()
    assert (batches[5] == expected).all()
    assert (data.batches(8, seed=4).at(5) != expected).any()
    assert len(batches) == 4
    assert len(data.batches(1000)) == 738
    assert batches.at(0).flags.writeable


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1. Got 0"),
        ({"batch_size": 2.5}, "Got 2.5"),
        ({"steps": 0}, "`steps` must be an integer of at least 1. Got 0"),
        ({"seed": -1}, "`seed` must be an integer of at least 0. Got -1"),
    ],
)
def test_wrong_batches(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sprites().batches(**arguments)


def test_data_sets_do_not_import_keras():
    script = (
        "import importlib.machinery, sys, types; package = types.ModuleType('keras_disent');"
        f"package.__path__ = {list(importlib.import_module('keras_disent').__path__)};"
        "sys.modules['keras_disent'] = package;"
        "import keras_disent.datasets; assert 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_data_set_describes_itself():
    assert repr(Sprites(32)) == (
        "<Sprites 'sprites': 737,280 images (32, 32, 1), factors shape 3, scale 6, "
        "orientation 40, position_x 32, position_y 32>"
    )
    assert (
        repr(Images(np.zeros((3, 8, 9)), "own")) == "<Images 'own': 3 images (8, 9, 1), no labels>"
    )


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_notebooks_show_images_and_factors(channels):
    pixels = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((8, 6, channels), 40)
    data = labeled(pixels.astype(np.uint8), {"size <m>": [1, 2, 2, 4, 4]}, "a & b")
    text = data._repr_html_()
    for part in ("a &amp; b", "size &lt;m&gt;", "1 to 4"):
        assert part in text
    (encoded,) = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        assert picture.size == (5 * 6 + 4, 8)
        first = np.asarray(picture.convert("L"))[:, :: 6 + 1]
    assert first[0].tolist() == [0, 40, 80, 120, 160]
    assert "No labels." in Images(pixels.astype(np.uint8) + 1)._repr_html_()
