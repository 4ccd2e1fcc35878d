"""Search for good hyperparameters with KerasTuner: any model, any score, goes on after a kill.

`Search` does all of it in one folder. `HyperModel` is for KerasTuner's own tuners.
"""

from keras_disent.engine import backend  # noqa: F401  (first: it says what to install)

try:
    import keras_tuner  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"keras_disent.tuning needs KerasTuner: pip install 'keras-disent[tuner]'. Here: {error}."
    ) from None

from keras_disent.models.hyperparameters import Range, Values
from keras_disent.tuning.hypermodel import HyperModel
from keras_disent.tuning.objectives import Objective
from keras_disent.tuning.oracles import ORACLES
from keras_disent.tuning.results import Results, Row
from keras_disent.tuning.search import Search

__all__ = ["ORACLES", "HyperModel", "Objective", "Range", "Results", "Row", "Search", "Values"]
