"""Experiment trackers, each with its real library: values, pictures, configuration, resuming."""

import copy
import io
import json
import pickle
import struct
import sys
import time

import numpy as np
import pytest
from PIL import Image
from support.checks import compiled, images, on, small

from keras_disent import trackers
from keras_disent.callbacks import DisentanglementMetrics, Tracking
from keras_disent.trackers import TensorBoard

CONFIG = {"model": "beta_vae", "options": {"beta": 4.0}, "metrics": ["mig"], "subset": None}
IMAGE = np.random.default_rng(0).integers(256, size=(20, 30, 3)).astype("uint8")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder, which is the working directory and where all trackers write."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    return tmp_path


def events(log_dir):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    size = {"images": 0, "scalars": 0, "tensors": 0}
    return accumulator.EventAccumulator(str(log_dir), size_guidance=size).Reload()


def write_a_run(tracker):
    """Log to a new run, close it, continue it, and return its identifier."""
    run_id = tracker.open("shapes", "first", CONFIG)
    tracker.log({"loss": 3.5, "val_mig": 0.25}, 10)
    tracker.image("traversals", IMAGE, 10)
    tracker.close()
    assert not tracker.is_open
    assert tracker.open("shapes", "first", CONFIG, run_id) == run_id
    tracker.log({"loss": 2.5}, 20)
    tracker.close()
    return run_id


# -- each with its library ------------------------------------------------------------------------


def test_tensorboard(place):
    write_a_run(TensorBoard(place / "logs"))
    board = events(place / "logs")
    assert [(e.step, e.value) for e in board.Scalars("loss")] == [(10, 3.5), (20, 2.5)]
    assert [(e.step, e.value) for e in board.Scalars("val_mig")] == [(10, 0.25)]
    (picture,) = board.Images("traversals")
    shown = Image.open(io.BytesIO(picture.encoded_image_string))
    np.testing.assert_array_equal(shown, IMAGE)
    text = board.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "|options.beta|4.0|" in text


def test_mlflow(place):
    mlflow = pytest.importorskip("mlflow", reason="keras-disent[mlflow] is not installed")
    run_id = write_a_run(trackers.create("mlflow"))
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    assert client.get_experiment(run.info.experiment_id).name == "shapes"
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params["options.beta"] == "4.0"
    logged = client.get_metric_history(run_id, "loss")
    assert [(m.step, m.value) for m in logged] == [(10, 3.5), (20, 2.5)]
    path = client.download_artifacts(run_id, "traversals/00000010.png", str(place))
    np.testing.assert_array_equal(Image.open(path).convert("RGB"), IMAGE)


def test_wandb_writes_offline(place):
    pytest.importorskip("wandb", reason="keras-disent[wandb] is not installed")
    run_id = write_a_run(trackers.create("wandb"))
    logged, config = {}, {}
    for file in sorted(place.glob(f"wandb/offline-run-*-{run_id}/*.wandb")):
        for record in wandb_session(file):
            for item in record.history.item:
                if item.nested_key[0] in ("loss", "val_mig"):
                    logged[item.nested_key[0], record.history.step.num] = float(item.value_json)
            for change in record.run.config.update:
                config[change.key] = json.loads(change.value_json)
    assert logged == {("loss", 10): 3.5, ("val_mig", 10): 0.25, ("loss", 20): 2.5}
    assert config["options"] == {"beta": 4.0}
    images = f"wandb/offline-run-*-{run_id}/files/media/images"
    (picture,) = place.glob(f"{images}/traversals_10_*.png")
    np.testing.assert_array_equal(Image.open(picture).convert("RGB"), IMAGE)


def wandb_session(file, seconds=30):
    """Return the records of a file of W&B, which is written to its end soon after `finish`."""
    deadline = time.monotonic() + seconds
    while True:
        records = list(wandb_records(file.read_bytes()))
        if any(record.HasField("exit") for record in records) or time.monotonic() > deadline:
            return records
        time.sleep(0.1)


def wandb_records(content):
    """Yield the records of a file of W&B: LevelDB's log, in blocks of 32 KiB, after 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    start, parts = 7, b""
    while start + 7 <= len(content):
        room = 32768 - start % 32768
        if room < 7:
            start += room
            continue
        length, kind = struct.unpack("<HB", content[start + 4 : start + 7])
        parts += content[start + 7 : start + 7 + length]
        start += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


def test_trackio(place):
    pytest.importorskip("trackio", reason="keras-disent[trackio] is not installed")
    from trackio.sqlite_storage import SQLiteStorage

    run_id = write_a_run(trackers.create("trackio"))
    logged = SQLiteStorage.get_logs("shapes", run_id)
    assert [(r["step"], r["loss"]) for r in logged if "loss" in r] == [(10, 3.5), (20, 2.5)]
    assert SQLiteStorage.get_run_config("shapes", run_id)["options"] == {"beta": 4.0}
    assert any("traversals" in row for row in logged)
    picture = next((place / "trackio" / "media").rglob("*.png"))
    np.testing.assert_array_equal(Image.open(picture).convert("RGB"), IMAGE)


# -- the projector --------------------------------------------------------------------------------


def test_the_projector_has_codes_labels_and_thumbnails(place):
    projector = pytest.importorskip("tensorboard.plugins.projector.projector_config_pb2")
    from google.protobuf import text_format

    rng = np.random.default_rng(0)
    codes, shown = rng.normal(size=(10, 3)), images(10)
    tracker = TensorBoard(place / "logs")
    labels = {"shape": np.arange(10) % 3, "name": np.array(["a\tb"] * 10)}
    tracker.embedding(codes, shown, ("hue", "size", "z2"), labels)
    config = projector.ProjectorConfig()
    text_format.Parse((place / "logs" / "projector_config.pbtxt").read_text(), config)
    (entry,) = config.embeddings
    written = np.loadtxt(place / "logs" / entry.tensor_path, delimiter="\t")
    np.testing.assert_allclose(written, codes, rtol=1e-5)
    lines = (place / "logs" / entry.metadata_path).read_text().splitlines()
    assert lines[:3] == ["image\tshape\tname", "0\t0\ta b", "1\t1\ta b"]
    assert len(lines) == 11  # a heading, as there is more than one column
    width, height = entry.sprite.single_image_dim
    sheet = np.asarray(Image.open(place / "logs" / entry.sprite.image_path))
    assert sheet.shape == (4 * height, 4 * width, 3)  # square: 16 places for 10 images
    for i in range(10):
        top, left = i // 4 * height, i % 4 * width
        thumbnail = sheet[top : top + height, left : left + width]
        np.testing.assert_array_equal(thumbnail, np.broadcast_to(shown[i], thumbnail.shape))
    assert "hue, size, z2" in entry.tensor_name


def test_large_images_become_small_thumbnails(monkeypatch):
    monkeypatch.setattr(trackers, "SPRITE_SIDE", 32)
    sheet, side = trackers._sprite(np.zeros((16, 20, 20, 3), "uint8"))
    assert sheet.shape[0] <= 32
    assert side == (7, 7)


def test_an_embedding_needs_an_image_for_each_code(place):
    with pytest.raises(ValueError, match=r"one image for each code. Got 3 images for 4 codes"):
        TensorBoard(place).embedding(np.zeros((4, 2)), images(3), ("a", "b"), {})


# -- the callback ---------------------------------------------------------------------------------


def fit(model, *callbacks, epochs=1):
    return model.fit(images(16), batch_size=8, epochs=epochs, callbacks=callbacks, verbose=0)


def test_losses_scores_and_traversals_are_logged(place):
    from test_callbacks import DATA, SETTINGS

    tracking = Tracking("tensorboard", DATA, log_dir=place / "logs", every=2)
    scores = DisentanglementMetrics(DATA, {"mig": SETTINGS["mig"]}, n_samples=50)
    model = compiled(small("vae"))
    model.latent_names = ("hue", "size", "z2")
    history = fit(model, tracking, scores, epochs=2).history
    board = events(place / "logs")
    for name in ("loss", "kl", "val_mig"):
        logged = [(e.step, e.value) for e in board.Scalars(name)]
        assert logged == [
            (2, pytest.approx(history[name][0])),
            (4, pytest.approx(history[name][1])),
        ]
    assert [picture.step for picture in board.Images("traversals")] == [4]
    text = board.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "|model|VAE|" in text
    assert "|latent_dim|3|" in text
    codes = np.loadtxt(place / "logs" / "codes.tsv", delimiter="\t")
    assert codes.shape == (1000, 3)
    assert (place / "logs" / "labels.tsv").read_text().startswith("image\trow\tcolumn\n")
    assert "hue, size, z2" in (place / "logs" / "projector_config.pbtxt").read_text()
    assert not tracking.tracker.is_open


def test_a_tracker_of_your_own(place):
    class Notes(trackers.Tracker):
        def open(self, project, name, config, run_id=None):
            self._run = self.rows = []
            self.about = (project, name, dict(config))
            return "1"

        def log(self, values, step):
            self.rows.append((step, sorted(values)))

        def image(self, name, image, step):
            self.rows.append((step, name, image.shape[2]))

        def close(self, failed=False):
            self._run = None

    notes = Notes()
    tracking = Tracking(notes, images(16), config={"beta": 4.0}, project="shapes", name="one")
    fit(compiled(small("vae")), tracking)
    assert notes.about == ("shapes", "one", {"beta": 4.0})
    assert notes.rows == [(2, ["kl", "loss", "reconstruction"]), (2, "traversals", 3)]
    assert tracking.run_id == "1"


def test_copies_open_runs_of_their_own(place):
    tracking = Tracking("tensorboard", images(16), log_dir=place / "logs")
    fit(compiled(small("vae")), tracking)
    for duplicate in (copy.deepcopy(tracking), pickle.loads(pickle.dumps(tracking))):
        assert duplicate.run_id is None
        assert not duplicate.tracker.is_open
        fit(compiled(small("vae")), duplicate)
    assert len(events(place / "logs").Scalars("loss")) == 3


# -- what is refused ------------------------------------------------------------------------------


def test_unknown_trackers_are_refused():
    with pytest.raises(ValueError, match=r"Unknown tracker 'mlfow'. Choose from: mlflow, tens"):
        Tracking("mlfow")


@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_a_tracker_that_is_not_installed(name, monkeypatch):
    monkeypatch.setitem(sys.modules, trackers.TRACKERS[name].library, None)
    with pytest.raises(ImportError, match=rf"pip install 'keras-disent\[{name}\]'") as error:
        Tracking(name)
    assert "\n" not in str(error.value)


@on("torch")
def test_every_is_a_whole_number():
    with pytest.raises(ValueError, match=r"`every` .* at least 1"):
        Tracking("tensorboard", every=0)
