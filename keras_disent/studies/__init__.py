"""Studies: many runs from one small file, in one folder, as many at a time as there is room for.

`Plan.read` reads the file, `run` does the runs that are not done and returns their scores as one
table, `Watch` tells how far they are, `report` what they have found.
"""

from keras_disent.engine import backend  # noqa: F401  (first: it says what to install)
from keras_disent.studies.engine import run
from keras_disent.studies.folder import Status, Watch, failures, read
from keras_disent.studies.plan import Plan, Run
from keras_disent.studies.pools import ENGINES
from keras_disent.studies.report import Report, report
from keras_disent.studies.table import results

__all__ = [
    "ENGINES",
    "Plan",
    "Report",
    "Run",
    "Status",
    "Watch",
    "failures",
    "read",
    "report",
    "results",
    "run",
]
