"""Published scores beside those of a study, and how the settings differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_disent.experiments.report.frames import Frame
from keras_disent.experiments.report.page import Part, plain


class Published(NamedTuple):
    """A published score.

    Attributes:
        model, data, score: Names as in this package.
        value: Mean over seeds.
        source: Authors, year and table.
        settings: What the source says of its settings.
    """

    model: str
    data: str
    score: str
    value: float
    source: str
    settings: str


_ENC_DIFF = ("Yang et al. (2024), EncDiff, table 1", "mean of 15 runs")
PUBLISHED = tuple(
    Published(model, data, score, value, *_ENC_DIFF)
    for model, data, values in (
        ("factor_vae", "cars3d", (0.906, 0.161)),
        ("factor_vae", "shapes3d", (0.840, 0.611)),
        ("factor_vae", "mpi3d_toy", (0.152, 0.240)),
        ("beta_tcvae", "cars3d", (0.855, 0.140)),
        ("beta_tcvae", "shapes3d", (0.873, 0.613)),
        ("beta_tcvae", "mpi3d_toy", (0.179, 0.237)),
    )
    for score, value in zip(("factor_vae_score", "dci"), values, strict=True)
)
SIMILAR = {"scenes3d": "shapes3d", "sprites": "dsprites"}
"""Rendered data sets, and the published ones that they stand for."""
IMAGE_SIZE = 64
"""Height and width in pixels of the images of all published scores."""


def section(frame: Frame, configs: Mapping[str, Mapping[str, Any]]) -> Part:
    """Return the published scores of the methods, data and scores of a study.

    Args:
        frame: Runs of the study.
        configs: A configuration for each label, as JSON holds it.
    """
    name = "Published scores"
    rows = []
    for label, runs in frame.groups().items():
        config, setting = configs[label], frame.settings[label]
        for one in PUBLISHED:
            data = config["data"]
            if one.model != config["model"] or one.data not in (data, SIMILAR.get(data)):
                continue
            if one.score not in frame.metrics or not runs[one.score].notna().any():
                continue
            rows.append(
                {
                    "setting": setting.name,
                    "score": one.score,
                    "here": float(runs[one.score].mean()),
                    "n": int(runs[one.score].notna().sum()),
                    "published": one.value,
                    "source": one.source,
                    "published_settings": one.settings,
                    "what_differs": "; ".join(differences(config, one)) or "nothing known",
                }
            )
    if not rows:
        text = ["Left out: no published score of these methods and data is known here."]
        return Part("published", name, text, {})
    text = [
        "Means of this study beside published ones. Papers seldom state all settings: the number "
        "of steps, the strength and the version of a score may differ too. Compare them only where "
        "nothing known differs.",
    ]
    return Part("published", name, text, plain(rows), tables={"Beside this study": plain(rows)})


def differences(config: Mapping[str, Any], published: Published) -> list[str]:
    """Return in words how the data of a configuration differ from those of a published score.

    >>> one = PUBLISHED[2]
    >>> differences({"data": "scenes3d", "image_size": 32}, one)
    ['scenes3d is drawn after shapes3d', 'images of 32 instead of 64 pixels']
    """
    words = []
    if config["data"] != published.data:
        words.append(f"{config['data']} is drawn after {published.data}")
    if config.get("image_size") not in (None, IMAGE_SIZE):
        words.append(f"images of {config['image_size']} instead of {IMAGE_SIZE} pixels")
    if config.get("channels") is not None:
        words.append(f"images with {config['channels']} channels")
    if config.get("subset"):
        words.append(f"a subset of {', '.join(config['subset'])}")
    if config.get("correlate"):
        words.append(f"correlated factors: {', '.join(config['correlate'])}")
    return words
