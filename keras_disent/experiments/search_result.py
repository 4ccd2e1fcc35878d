"""What a search leaves in its folder: table and picture of its trials, and the best run."""

from __future__ import annotations

from pathlib import Path

from keras_disent import plots
from keras_disent.experiments import log
from keras_disent.experiments.config import model_class
from keras_disent.experiments.objectives import Objective
from keras_disent.experiments.search import Search
from keras_disent.experiments.store import write_json
from keras_disent.experiments.study_folder import StudyFolder
from keras_disent.experiments.trials import BEST, PICTURE, TABLE, Trial, best, trials, write_table
from keras_disent.plots import charts


def finish(study: StudyFolder) -> Trial:
    """Write table, picture and the best run of a search; return the best trial.

    Raises:
        RuntimeError: If the search has given up, or no trial is done.
    """
    search, all_trials = Search.read(study), trials(study)
    goal = search.goal
    write_table(all_trials, goal.key, study.folder / TABLE)
    if log.given_up(log.read(study.folder)):
        raise RuntimeError(
            f"The search has stopped: {log.FAILURES} trials in a row have failed. "
            f"{all_trials[-1].error}"
        )
    winner = best(all_trials, goal.higher)
    if winner is None:
        raise RuntimeError("No trial was done to its end.")
    _draw(search, all_trials, goal, study.folder / PICTURE)
    ahead = max if goal.higher else min
    run = winner.runs[winner.scores.index(ahead(winner.scores))]
    write_json(
        study.folder / BEST,
        {
            "trial": winner.number,
            "run": study.place(run).relative_to(study.folder).as_posix(),
            "score": winner.score,
            "values": dict(winner.values),
        },
    )
    return winner


def _draw(search: Search, all_trials: list[Trial], goal: Objective, path: Path) -> None:
    """Draw score against reconstruction, colored by the first hyperparameter that is a number."""
    done = [trial for trial in all_trials if trial.score is not None]
    numeric = [n for n, v in done[0].values.items() if isinstance(v, int | float)]
    color, cls = (numeric[0] if numeric else None), model_class(search.config.model)
    unit = "reconstruction: squared error (sum over pixels, lower is better)"
    if "reconstruction" in cls.terms:
        unit = "reconstruction: negative log-likelihood (nats per image, lower is better)"
    title = f"{cls.__name__} on {Path(search.config.data).name}, {search.config.steps:,} steps"
    figure = charts.tradeoff(
        [trial.reconstruction or 0.0 for trial in done],
        [trial.score or 0.0 for trial in done],
        higher=goal.higher,
        x_label=unit,
        y_label=goal.key.removeprefix("val_"),
        colors=None if color is None else [trial.values[color] for trial in done],
        color_label=color,
        title=title.replace("$", r"\$"),
    )
    plots.save(figure, path)
