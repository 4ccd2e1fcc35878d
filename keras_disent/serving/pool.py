"""Supervised worker processes: queue, batches, and the mending of deaths.

A worker takes what waits as soon as it is free: an idle server computes a request at once, and a
busy one collects batches meanwhile. When a worker dies, its requests are computed by another one,
each on its own, as one of them may be the cause; a new worker takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import orjson

from keras_disent.serving import messages
from keras_disent.serving.messages import Request, Response

logger = logging.getLogger("keras_disent.serving")

MAX_BATCH_BYTES = 4 << 20  # of several requests
MAX_QUEUED = 512  # requests
ATTEMPTS = 2  # workers that may die of a request
START = 120.0  # seconds in which a worker must be ready
MENDING = 5.0  # seconds that a request waits for a first worker
MAX_DELAY = 5.0  # seconds between two attempts to start a worker that fails


class Job:
    """A request that waits for its response."""

    def __init__(self, name: str, request: Request):
        self.name, self.request = name, request
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.deaths = 0  # of workers that had this job


class Worker:
    """A process, and the jobs that it has: none when it is idle."""

    def __init__(self, process: asyncio.subprocess.Process):
        self.process = process
        self.jobs: dict[int, Job] = {}
        self.deadline: asyncio.TimerHandle | None = None
        self.killed = False

    @property
    def running(self) -> bool:
        """Whether the process can take and answer requests."""
        return not self.killed and self.process.returncode is None

    def send(self, jobs: list[Job]) -> None:
        """Send a batch."""
        self.jobs = dict(enumerate(jobs))
        assert self.process.stdin is not None
        batch = messages.pack_batch(jobs[0].name, [job.request for job in jobs])
        self.process.stdin.writelines(batch)

    def expect_response(self, timeout: float) -> None:
        """Kill the process if it has jobs, and gives no response in time."""
        if self.deadline:
            self.deadline.cancel()
        loop = asyncio.get_running_loop()
        self.deadline = loop.call_later(timeout, self.kill) if self.jobs else None

    def kill(self) -> None:
        """Kill the process."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def end(self) -> None:
        """Kill the process, and wait until it is gone and its pipes are closed."""
        self.kill()
        await self.process.communicate()
        await asyncio.sleep(0)  # asyncio closes the pipes in the next round of the loop


class Pool:
    """Workers of one exported model, as a context: they run while it is entered.

    Args:
        folder: Folder of a model exported as "onnx".
        workers: Number of processes.
        threads: Threads of ONNX Runtime in each.
        batched: Endpoints whose requests are computed together.
        max_batch_size: Maximum number of requests in a batch.
        timeout: Seconds after which a request is given up, and a worker that does not respond is
            killed.

    Attributes:
        command: Command that starts a worker.
        size: Number of workers.
        restarts: Number of workers that were replaced.
        on_batch: Function that is called with the number of requests of each batch.

    Raises:
        ValueError: When it is entered: the workers cannot load the model.
    """

    def __init__(
        self,
        folder: str | Path,
        workers: int,
        threads: int,
        batched: Container[str],
        max_batch_size: int,
        timeout: float,
    ):
        module = ["-P", "-m", "keras_disent.serving.worker"]
        self.command = [sys.executable, *module, str(folder), str(threads)]
        self.size, self.timeout = workers, timeout
        self.batched, self.max_batch_size = batched, max_batch_size
        self.queue: deque[Job] = deque()
        self.workers: list[Worker] = []  # those that are ready
        self.restarts = 0
        self.on_batch: Callable[[int], object] = lambda size: None
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def ready(self) -> int:
        """Number of workers that can compute."""
        return sum(worker.running for worker in self.workers)

    async def __aenter__(self) -> Pool:
        first = [asyncio.get_running_loop().create_future() for _ in range(self.size)]
        self._tasks = [asyncio.create_task(self._supervise(future)) for future in first]
        try:
            await asyncio.gather(*first)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, name: str, request: Request) -> Response:
        """Return the response of a request; never raises for what workers do.

        Args:
            name: Name of the endpoint.
            request: The request.
        """
        if len(self.queue) >= MAX_QUEUED:
            return unavailable(f"{MAX_QUEUED} requests wait already. Try again.")
        job = Job(name, request)
        self.queue.append(job)
        self._dispatch()
        ready = self.ready > 0
        try:
            async with asyncio.timeout(self.timeout if ready else MENDING):
                return await job.response
        except TimeoutError:
            if not ready:
                return unavailable("No worker is ready. Try again.")
            return Response.of_error(504, f"No response within {self.timeout:g} seconds.")

    def _dispatch(self) -> None:
        """Give what waits to workers that are idle."""
        for worker in self.workers:
            if not self.queue:
                return
            if worker.running and not worker.jobs:
                jobs = self._take()
                if jobs:
                    worker.send(jobs)
                    worker.expect_response(self.timeout)
                    self.on_batch(len(jobs))

    def _take(self) -> list[Job]:
        """Remove a batch from the queue: the oldest job, and others for the same endpoint."""
        jobs: list[Job] = []
        others: deque[Job] = deque()
        size = 0
        while self.queue and len(jobs) < self.max_batch_size:
            job = self.queue.popleft()
            if job.response.done():  # given up
                continue
            length = len(job.request.body)
            joins = not jobs or (
                job.name == jobs[0].name
                and job.name in self.batched
                and size + length <= MAX_BATCH_BYTES
                and not job.deaths
                and not jobs[0].deaths
            )
            if joins:
                jobs.append(job)
                size += length
            else:
                others.append(job)
        self.queue.extendleft(reversed(others))
        return jobs

    async def _supervise(self, first: asyncio.Future[None]) -> None:
        """Keep one worker running; `first` tells that it is ready, or why it cannot be."""
        delay = 0.0
        while True:
            start = time.monotonic()
            worker = None
            try:
                worker = await self._start()
                self.workers.append(worker)
                seconds = round(time.monotonic() - start, 3)
                extra = {"worker": worker.process.pid, "seconds": seconds}
                logger.info("worker ready", extra=extra)
                delay = 0.0
                if not first.done():
                    first.set_result(None)
                self._dispatch()
                await self._receive(worker)
            except Exception as error:  # whatever it is, there must be a worker again
                if not first.done():
                    first.set_exception(ValueError(f"The workers cannot start: {error}"))
                    return
                logger.error("worker failed", extra={"reason": str(error)})
                delay = min(2 * delay or 0.1, MAX_DELAY)
            finally:
                if worker is not None:
                    self._bury(worker)
                    await worker.end()
            self.restarts += 1
            await asyncio.sleep(delay)

    async def _start(self) -> Worker:
        """Start a process, and wait until it has loaded the model."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
            start_new_session=True,  # Ctrl-C is for this process
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "OMP_NUM_THREADS": "1",
            },
        )
        assert process.stdout is not None
        worker = Worker(process)
        try:
            async with asyncio.timeout(START):
                _, response = await messages.read(process.stdout)
            if response.status != 200:
                raise ValueError(orjson.loads(response.body)["error"])
        except BaseException:
            await worker.end()
            raise
        return worker

    async def _receive(self, worker: Worker) -> None:
        """Hand out the responses of a worker until it ends."""
        assert worker.process.stdout is not None
        try:
            while True:
                number, response = await messages.read(worker.process.stdout)
                job = worker.jobs.pop(number)
                if not job.response.done():
                    job.response.set_result(response)
                worker.expect_response(self.timeout)
                if not worker.jobs:
                    self._dispatch()
        except (asyncio.IncompleteReadError, ConnectionError):
            worker.kill()  # should it only have closed its output
            code = await worker.process.wait()
            extra = {"worker": worker.process.pid, "code": code, "requests": len(worker.jobs)}
            logger.warning("worker died", extra=extra)

    def _bury(self, worker: Worker) -> None:
        """Forget a worker; its jobs go first, or are given up if they have killed too many."""
        self.workers.remove(worker)
        if worker.deadline:
            worker.deadline.cancel()
        for job in reversed(worker.jobs.values()):
            job.deaths += 1
            if job.response.done():
                continue
            if job.deaths < ATTEMPTS:
                self.queue.appendleft(job)
            else:
                job.response.set_result(unavailable("Workers died of this request."))
        self._dispatch()


def unavailable(reason: str) -> Response:
    """Create a response 503."""
    return Response.of_error(503, reason, **{"Retry-After": "1"})
