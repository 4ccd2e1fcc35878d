"""The command line's `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_disent.cli.options import takes_a_run, value
from keras_disent.cli.start import (
    Backend,
    Imports,
    computing_with,
    level,
    say,
    start,
    tell,
    warn,
    working,
)


@takes_a_run
def tune(
    run: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Study folder, new or of this search, to resume it.")],
    objective: Annotated[
        str,
        typer.Option(
            help="What is made better: a score (mig), a term (loss, -reconstruction), udr; "
            "with @NATS at a reconstruction of at most that many nats."
        ),
    ] = "mig",
    trials: Annotated[int, typer.Option(help="Maximum number of trials.")] = 20,
    tuner: Annotated[str, typer.Option(help="random, bayesian, hyperband or grid.")] = "random",
    range_: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            help="What is tuned: NAME, NAME=LOW:HIGH or NAME=A,B,C. Default: all that the model "
            "declares.",
        ),
    ] = None,
    executions: Annotated[int, typer.Option(help="Runs of a trial, each with its seed.")] = 1,
    jobs: Annotated[int, typer.Option(help="Trials at a time.")] = 1,
    executor: Annotated[
        str, typer.Option(help="local, or the running cluster of ray or dask.")
    ] = "local",
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of each process. Default: OMP_NUM_THREADS, or 1 with several "
            "jobs, else as many as processors are free."
        ),
    ] = None,
    imports: Imports = None,
    backend: Backend = None,
) -> None:
    """Search for good hyperparameters: a study with a table and a picture of its trials."""
    from keras_disent.cli import terminal

    start(backend, imports, threads if executor == "local" else None, 1 if jobs > 1 else None)
    with working("Starting KerasTuner"):
        from keras_disent.experiments import Config, Search, Study

    search = Search(
        Config(**run),
        objective,
        ranges(range_),
        trials=trials,
        tuner=tuner,
        executions=executions,
        imports=tuple(imports or ()),
    )
    study = Study.create(search, out)
    tell(f"{run['model']} on {run['data']} -> {out} ({computing_with()})")
    how: dict[str, Any] = {"n_jobs": jobs, "executor": executor, "threads": threads}
    try:
        if terminal.errors.is_terminal and not level.quiet:
            with terminal.LiveSearch(study, search) as live:
                study.run(**how, on_status=live.update, verbose=0)
        else:
            study.run(**how)
    except KeyboardInterrupt:
        warn(f"Interrupted. The trials in {out} are saved. Run the same command to resume.")
        raise typer.Exit(130) from None
    from keras_disent.experiments import trials as of_search

    all_trials, goal = study.trials(), search.goal
    terminal.console.print(terminal.trials_table(all_trials, search.objective))
    best = of_search.best(all_trials, goal.higher)
    if best is not None:
        values = ", ".join(f"{name} {terminal.as_text(v)}" for name, v in best.values.items())
        score = terminal.as_text(best.score)
        say(f"Best: trial {best.number}, {values}: {search.objective} {score}")
        ahead = max if goal.higher else min
        run_of = best.runs[best.scores.index(ahead(best.scores))]
        say(f"Look at {out / of_search.PICTURE}; its model is in {study.place(run_of)}")


def ranges(texts: list[str] | None) -> dict[str, Any] | None:
    """Return what NAME, NAME=LOW:HIGH and NAME=A,B,C say.

    Raises:
        ValueError: if one is not of this form, or a name comes twice.
    """
    if not texts:
        return None
    space: dict[str, Any] = {}
    for text in texts:
        name, equals, spec = (part.strip() for part in text.partition("="))
        if not name or (equals and not spec) or name in space:
            raise ValueError(
                f"--range takes NAME, NAME=LOW:HIGH or NAME=A,B,C, each name once. Got {text!r}."
            )
        if not equals:
            space[name] = None
        elif ":" in spec:
            space[name] = tuple(value(part) for part in spec.split(":"))
        else:
            space[name] = [value(part) for part in spec.split(",")]
    return space
