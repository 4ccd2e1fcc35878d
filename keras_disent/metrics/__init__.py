"""Disentanglement scores: pure functions of NumPy arrays, or of an encoder and a data set."""

from keras_disent.metrics.beta_vae import BetaVAEScore, beta_vae_score
from keras_disent.metrics.bootstrap import bootstrap
from keras_disent.metrics.catalog import (
    LABEL_FREE,
    METRICS,
    STANDARD,
    Metric,
    applicable,
    check,
    names,
)
from keras_disent.metrics.correlation import MCC, mcc
from keras_disent.metrics.dci import DCI, dci
from keras_disent.metrics.dci_es import DCIES, dci_es
from keras_disent.metrics.downstream import downstream, reduced_downstream
from keras_disent.metrics.evaluate import evaluate
from keras_disent.metrics.fairness import Fairness, fairness
from keras_disent.metrics.infomec import InfoMEC, infomec
from keras_disent.metrics.irs import IRS, irs
from keras_disent.metrics.mig import dcimig, mig, mig_sup
from keras_disent.metrics.modularity import Explicitness, explicitness, modularity
from keras_disent.metrics.mutual_information import discretize, entropy, mutual_information
from keras_disent.metrics.posterior import JEMMIG, ActiveUnits, active_units, jemmig, rmig
from keras_disent.metrics.results import Interval, Result
from keras_disent.metrics.sap import sap, sap_matrix
from keras_disent.metrics.score import score
from keras_disent.metrics.scorer import make_scorer
from keras_disent.metrics.scores import Comparison, Scores
from keras_disent.metrics.streaming import StreamingScores
from keras_disent.metrics.strong_downstream import strong_downstream
from keras_disent.metrics.udr import UDR, udr
from keras_disent.metrics.unified import UnifiedScores, aggregate, unified_scores
from keras_disent.metrics.unsupervised import UnsupervisedScores, unsupervised_scores
from keras_disent.metrics.votes import VoteScore, factor_vae_score, z_max_score

__all__ = [
    "DCI",
    "DCIES",
    "IRS",
    "JEMMIG",
    "LABEL_FREE",
    "MCC",
    "METRICS",
    "STANDARD",
    "UDR",
    "ActiveUnits",
    "BetaVAEScore",
    "Comparison",
    "Explicitness",
    "Fairness",
    "InfoMEC",
    "Interval",
    "Metric",
    "Result",
    "Scores",
    "StreamingScores",
    "UnifiedScores",
    "UnsupervisedScores",
    "VoteScore",
    "active_units",
    "aggregate",
    "applicable",
    "beta_vae_score",
    "bootstrap",
    "check",
    "dci",
    "dci_es",
    "dcimig",
    "discretize",
    "downstream",
    "entropy",
    "evaluate",
    "explicitness",
    "factor_vae_score",
    "fairness",
    "infomec",
    "irs",
    "jemmig",
    "make_scorer",
    "mcc",
    "mig",
    "mig_sup",
    "modularity",
    "mutual_information",
    "names",
    "reduced_downstream",
    "rmig",
    "sap",
    "sap_matrix",
    "score",
    "strong_downstream",
    "udr",
    "unified_scores",
    "unsupervised_scores",
    "z_max_score",
]


def __dir__() -> list[str]:
    return sorted(__all__)
