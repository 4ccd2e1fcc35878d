"""A study: many runs in one folder, given by a plan or chosen by a search.

Reading a study (its runs, status, table, report) imports neither Keras nor a backend.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_disent._utils.progress import Verbose
from keras_disent.experiments.study_folder import Status, StudyFolder

if TYPE_CHECKING:
    from keras_disent.experiments.plan import Plan
    from keras_disent.experiments.search import Search
    from keras_disent.experiments.trials import Trial


class Study(StudyFolder):
    """A study in its folder; `Study.create` and `Study.open` make it.

    Attributes:
        folder: Path of the folder.
    """

    def _repr_html_(self) -> str:
        """Return a table of the runs and their scores, which notebooks show."""
        from keras_disent.experiments.html import study_as_html

        return study_as_html(self)

    @classmethod
    def create(cls, plan: Plan | Search, folder: str | Path) -> Study:
        """Make the folder of a study, or open the one that is there, which may grow.

        Args:
            plan: A `Plan`, which has all of the runs in the folder, or a `Search`.
            folder: New or empty folder, or that of this study.

        Raises:
            ValueError: If the folder cannot be used, or the models or data do not take what the
                plan says; nothing is changed then.
            LockedError: If another process is changing the study.
        """
        from keras_disent.experiments.make import make

        return make(cls, plan, Path(folder))

    def run(
        self,
        *,
        n_jobs: int | None = None,
        executor: str = "local",
        threads: int | None = None,
        shard: tuple[int, int] = (1, 1),
        retry: bool = False,
        on_status: Callable[[Status], object] | None = None,
        verbose: Verbose = "auto",
    ) -> Any:
        """Do the runs that have not been done, and write the table of all results.

        Several processes may do so in one folder at once, on several machines: no run is done
        twice. With one job, the runs are trained in this process.

        Args:
            n_jobs: Runs at a time; default, one for each processor (of the cluster).
            executor: "local" for processes of this machine; "ray" or "dask" for the cluster that
                is running.
            threads: Threads of each process; results may depend on it in their last bits.
                Default: the variable OMP_NUM_THREADS, or 1.
            shard: (2, 3) for the second of three shards; (1, 1) for all runs.
            retry: Whether failed runs are tried again.
            on_status: Called about twice a second with the status of these runs.
            verbose: As in Keras: 0 is silent, 1 a bar, 2 a line from time to time, "auto" a bar on
                a terminal and in a notebook, and lines elsewhere.

        Returns:
            the results, see `table`.

        Raises:
            RunsFailedError: If runs failed; the others are done and in the table.
            ValueError: If the executor, the shard, the backend or `verbose` is wrong, or a file is
                damaged.
            OSError: If a file, which it names, cannot be written; what is finished is kept.
            ChildProcessError: If processes end again and again before they have begun a run.
            ImportError: Without pandas, or the package of the executor.
            KeyboardInterrupt: After Ctrl-C; call it again to resume.

        However it ends, the table holds what is finished.
        """
        from keras_disent.experiments.executor import execute

        return execute(
            self,
            n_jobs=n_jobs,
            executor=executor,
            threads=threads,
            shard=shard,
            retry=retry,
            on_status=on_status,
            verbose=verbose,
        )

    def trials(self) -> list[Trial]:
        """Return the trials of a search so far; none for a grid.

        Raises:
            ValueError: If the log is damaged; names the file.
        """
        from keras_disent.experiments import trials

        return trials.trials(self)

    def table(self) -> Any:
        """Return the scores of the finished runs as a pandas `DataFrame`, a row for each score.

        Its columns are `run`, `model`, `label` and `seed`; one for each setting that the study
        changes; then `score`, `kind` ("metric" or "term" of the objective), `value`, `step`,
        `seconds` (of the run), `backend` and `keras_disent` (the version).

        Raises:
            ValueError: Names a result file that is damaged.
            ImportError: Without pandas or PyArrow.
        """
        from keras_disent.experiments import table

        return table.results(self)

    def report(self, out: str | Path | None = None, **options: Any) -> Any:
        """Write `report.html` and `report.json`; see `experiments.report.report`."""
        from keras_disent.experiments.report import report

        return report(self, out, **options)
