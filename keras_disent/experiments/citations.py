"""Citations: the papers of methods, data sets, scores and networks, as BibTeX.

The entries are in `references.bib`. Nothing here imports Keras.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from keras_disent._utils.version import __version__

PACKAGE = "keras_disent"
"""Key of the entry of this package."""

MODELS: dict[str, tuple[str, ...]] = {
    "vae": ("kingma2014",),
    "beta_vae": ("higgins2017",),
    "annealed_vae": ("burgess2018",),
    "factor_vae": ("kim2018",),
    "beta_tcvae": ("chen2018",),
    "dip_vae": ("kumar2018",),
    "info_vae": ("zhao2019",),
    "hfs_vae": ("roth2023",),
    "ada_gvae": ("locatello2020weakly",),
    "ada_mlvae": ("locatello2020weakly", "bouchacourt2018"),
    "gvae": ("hosoya2019", "locatello2020weakly"),
    "mlvae": ("bouchacourt2018", "locatello2020weakly"),
    "autoencoder": ("hinton2006",),
    "qlae": ("hsu2023",),
    "tripod": ("hsu2024",),
    "info_gan": ("chen2016", "mescheder2018"),
    "causal_vae": ("yang2021",),
}
DATASETS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sprites", "dsprites"), ("matthey2017",)),
    **dict.fromkeys(
        (
            f"{variant}_{name}"
            for variant in ("color", "noisy", "scream")
            for name in ("sprites", "dsprites")
        ),
        ("matthey2017", "locatello2019"),
    ),
    "faces": (PACKAGE,),
    **dict.fromkeys(("scenes3d", "shapes3d"), ("burgess2018shapes",)),
    **dict.fromkeys(("pendulum", "flow"), ("yang2021",)),
    "photographs": ("pedregosa2011",),
    "cars3d": ("reed2015",),
    "small_norb": ("lecun2004",),
    **{f"mpi3d_{part}": ("gondal2019",) for part in ("toy", "realistic", "real", "complex")},
    "celeba": ("liu2015",),
    "mnist": ("lecun1998",),
    "fashion_mnist": ("xiao2017",),
}
METRICS: dict[str, tuple[str, ...]] = {
    "active_units": ("burda2016",),
    "beta_vae_score": ("higgins2017",),
    "dci": ("eastwood2018", "locatello2019"),
    "dci_es": ("eastwood2023",),
    "dcimig": ("sepliarskaia2019", "carbonneau2022"),
    "downstream": ("locatello2019",),
    "explicitness": ("ridgeway2018",),
    "factor_vae_score": ("kim2018",),
    "fairness": ("locatello2019fairness",),
    "infomec": ("hsu2023",),
    "irs": ("suter2019",),
    "jemmig": ("do2020",),
    "mcc": ("hyvarinen2016",),
    "mig": ("chen2018",),
    "mig_sup": ("li2020",),
    "modularity": ("ridgeway2018",),
    "reduced_downstream": ("locatello2019",),
    "rmig": ("do2020",),
    "sap": ("kumar2018",),
    "strong_downstream": ("locatello2020weakly",),
    "udr": ("duan2020",),
    "unified": ("locatello2020",),
    "unsupervised": ("locatello2019",),
    "z_max": ("kim2019",),
}
NETWORKS: dict[str, tuple[str, ...]] = {
    "conv": ("locatello2019",),
    "higgins": ("higgins2017",),
    "burgess": ("burgess2018",),
    "qlae": ("hsu2023",),
    "tripod": ("hsu2024",),
}
SUPERVISION = ("locatello2020labels",)


def keys(config: Mapping[str, Any], scores: Iterable[str] = ()) -> list[str]:
    """Return the keys of what a run is to cite: method, data, network, scores, this package.

    Args:
        config: Configuration of the run, as JSON holds it.
        scores: Names of scores; others, such as terms of the model, are left out.

    >>> keys({"model": "beta_tcvae", "data": "sprites", "network": "mlp"}, ["mig", "loss"])
    ['chen2018', 'matthey2017', 'keras_disent']
    """
    supervised = bool(config.get("options", {}).get("supervision"))
    citation_keys = [
        *MODELS.get(config["model"], ()),
        *(SUPERVISION if supervised else ()),
        *DATASETS.get(config["data"], ()),
        *NETWORKS.get(config.get("network", ""), ()),
        *(key for name in scores for key in METRICS.get(name, ())),
    ]
    return [*dict.fromkeys(key for key in citation_keys if key != PACKAGE), PACKAGE]


def bibtex(config: Mapping[str, Any], scores: Iterable[str] = ()) -> str:
    """Return what a run is to cite as BibTeX.

    What has no entry, a method or pictures of your own, is named in a comment.

    Args:
        config, scores: As `keys`.
    """
    comments = [
        f"% No entry is known for the {what} {' '.join(str(config[field]).split())}: add your own."
        for what, field, table in (("method", "model", MODELS), ("data", "data", DATASETS))
        if config[field] not in table
    ]
    parts = [entry(key) for key in keys(config, scores)]
    return "\n\n".join(["\n".join(comments), *parts] if comments else parts) + "\n"


def entry(key: str) -> str:
    """Return one entry as BibTeX.

    >>> print(entry("kim2018").splitlines()[1].strip())
    author = {Kim, Hyunjik and Mnih, Andriy},
    """
    if key == PACKAGE:
        return (
            f"@misc{{{PACKAGE},\n"
            "  author = {{The keras-disent authors}},\n"
            "  title = {keras-disent: Disentangled Representation Learning in {K}eras 3},\n"
            f"  howpublished = {{Python package, version {__version__}}},\n"
            "}"
        )
    return entries()[key]


@functools.cache
def entries() -> dict[str, str]:
    """Return the entries of `references.bib` by key."""
    text = resources.files(__package__).joinpath("references.bib").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=@)", text.strip())
    return {block[block.index("{") + 1 : block.index(",")]: block.strip() for block in blocks}
