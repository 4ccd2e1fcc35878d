"""Several processes on one search: KerasTuner's chief and workers, and what to do when one dies.

The chief holds the oracle and trains nothing; workers ask it for trials. KerasTuner's own chief
waits for ever for a worker that was killed. Here a worker that trains tells every few seconds that
it lives; the trial of one that does not is handed to another.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

from keras_tuner.src import protos
from keras_tuner.src.distribute import utils

from keras_disent.beats import every
from keras_disent.tuning.oracles import Durable

PATIENCE = 60.0
"""Seconds without a word after which the chief counts a worker as lost."""

VARIABLES = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")


def role() -> str:
    """Return "alone", "chief" or "worker", as KerasTuner's environment variables say.

    Raises:
        ValueError: if only some of them are set.
    """
    given = [name for name in VARIABLES if name in os.environ]
    if VARIABLES[0] in given and len(given) < len(VARIABLES):
        missing = ", ".join(name for name in VARIABLES if name not in given)
        raise ValueError(f"A shared search needs {', '.join(VARIABLES)}. Missing: {missing}.")
    if not utils.has_chief_oracle():
        return "alone"
    return "chief" if utils.is_chief_oracle() else "worker"


def serve(oracle: Durable, changed: Callable[[], object], patience: float = PATIENCE) -> None:
    """Serve the oracle to workers until all trials have ended and all workers know.

    Args:
        oracle: of the search.
        changed: called every half second.
        patience: seconds after which a silent worker is lost.

    Raises:
        OSError: if the port cannot be had.
    """
    import grpc
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    heard = dict.fromkeys(oracle.tuner_ids, time.monotonic())  # of a chief that was killed

    class Servicer(OracleServicer):
        def CreateTrial(self, request: Any, context: Any) -> Any:
            heard[request.tuner_id] = time.monotonic()
            return super().CreateTrial(request, context)

        def GetTrial(self, request: Any, context: Any) -> Any:
            for key, value in context.invocation_metadata():
                if key == "tuner-id":
                    heard[value] = time.monotonic()
            return super().GetTrial(request, context)

    address = f"{os.environ[VARIABLES[0]]}:{os.environ[VARIABLES[1]]}"
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.so_reuseport", 0)]
    )
    servicer = Servicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise OSError(f"The chief cannot listen on {address}. Is another one there?")
    server.start()
    try:
        while oracle.tuner_ids or not (servicer.stop_triggered or oracle.all_ended()):
            time.sleep(0.5)
            for tuner_id in list(oracle.tuner_ids):
                if time.monotonic() - heard.get(tuner_id, 0.0) > patience:
                    oracle.lose(tuner_id)
            changed()
    finally:
        server.stop(grace=2).wait()


@contextlib.contextmanager
def alive(client: Any, trial_id: str, tuner_id: str, patience: float = PATIENCE) -> Iterator[None]:
    """Tell the chief, while the block runs, that this worker lives.

    Args:
        client: KerasTuner's client of the chief's oracle.
        trial_id: what it works on.
        tuner_id: its own name.
        patience: the chief's.
    """
    import grpc

    request = protos.get_service().GetTrialRequest(trial_id=trial_id)

    def tell() -> None:
        with contextlib.suppress(grpc.RpcError):  # the chief may be starting again
            client.stub.GetTrial(request, metadata=(("tuner-id", tuner_id),), timeout=patience)

    with every(patience / 10, tell):
        yield
