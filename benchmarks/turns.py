"""Processes that measure in turns, a little each time, so that all see the same machine."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

Times = list[tuple[float, float]]


def take_turns(
    processes: Mapping[str, tuple[Sequence[str], Mapping[str, str]]], rounds: int
) -> dict[str, Times]:
    """Let processes that `answer` measure in turns, in one order and then in the other.

    Args:
        processes: Command and environment of each.
        rounds: Number of measurements of each.

    Returns:
        wall clock and processor time of the steps of each round, in milliseconds a step.
    """
    children = {}
    times: dict[str, Times] = {label: [] for label in processes}
    try:
        for label, (command, environment) in processes.items():
            children[label] = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            _line(label, children[label])  # it is ready; the next one starts when it is
        for number in range(rounds):
            for label in list(children)[:: 1 if number % 2 else -1]:
                children[label].stdin.write("\n")
                children[label].stdin.flush()
                times[label].append(tuple(json.loads(_line(label, children[label]))))
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    return times


def answer(take_steps: Callable[[], object], steps: int) -> None:
    """Take steps whenever a line comes in; tell wall clock and processor time."""
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter(), time.process_time()
        take_steps()
        end = time.perf_counter(), time.process_time()
        print(json.dumps([1000 * (b - a) / steps for a, b in zip(start, end)]), flush=True)  # noqa: B905


def report(args: argparse.Namespace, measure: Callable[[], Mapping[str, object]]) -> None:
    """Print `measure()` as JSON below the machine and the options, and write it to `args.out`.

    `args.busy` other processes compute meanwhile, if there is this option.
    """
    with busy(getattr(args, "busy", 0)):
        head = {
            "machine": {"processors": os.cpu_count(), "kind": platform.processor()},
            "date": time.strftime("%Y-%m-%d"),
            "load": [round(x, 2) for x in os.getloadavg()],
            **{k: v for k, v in vars(args).items() if k != "child" and not isinstance(v, Path)},
        }
        text = json.dumps({**head, "milliseconds": dict(measure())}, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """Let `number` other processes keep a core each busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _line(label: str, child: subprocess.Popen) -> str:
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"{label} ended with exit code {child.wait()}.")
    return line
