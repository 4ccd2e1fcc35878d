"""Workers that die: their requests are answered or refused, and new ones take their places."""

import asyncio
import http.client
import signal
import sys
import time

import numpy as np
import psutil
import pytest
from support.checks import BACKEND, LATENTS
from support.exports import trained
from support.served import Client, asking, served, wait_until_healthy, workers_of

from keras_disent import export
from keras_disent.serving import pool as pools
from keras_disent.serving.messages import Request
from keras_disent.serving.pool import Pool

here = pytest.mark.skipif(BACKEND != "tensorflow", reason="ONNX is written by TensorFlow")

# A worker that obeys its requests: it dies, hangs or works for a while, or repeats what came.
OBEDIENT = """
import os, sys, time
from keras_disent.serving.messages import Response, pack, read_batch
out = sys.stdout.buffer
out.write(pack(0, Response(200, "", b"")))
out.flush()
while (batch := read_batch(sys.stdin.buffer)) is not None:
    name, requests = batch
    if any(request.body == b"die" for request in requests):
        os._exit(3)
    for number, request in enumerate(requests):
        if request.body == b"hang":
            time.sleep(60)
        if request.body == b"work":
            time.sleep(0.3)
        out.write(pack(number, Response(200, "", request.body + b" of %d" % len(requests))))
        out.flush()
"""


def run(check, *, workers=1, max_batch_size=4, timeout=20.0, code=OBEDIENT):
    """Run a check, an async function, on a pool of such workers; return what it returns."""
    batched = {"encode", "decode"}
    pool = Pool("", workers, 1, batched, max_batch_size=max_batch_size, timeout=timeout)
    pool.command = [sys.executable, "-c", code]

    async def main():
        async with pool:
            return await check(pool)

    return asyncio.run(main())


def ask(pool, *bodies, name="encode"):
    """Return the answers of several requests at once: (status, body)."""

    async def one(body):
        response = await pool.answer(name, Request("v1", body))
        return response.status, response.body

    return asyncio.gather(*(one(body) for body in bodies))


def test_an_idle_worker_starts_at_once_and_a_busy_one_collects():
    async def check(pool):
        sizes = []
        pool.on_batch = sizes.append
        answers = await ask(pool, b"work", b"b", b"c", b"d", b"e", b"f")
        return sizes, answers

    sizes, answers = run(check)
    assert sizes == [1, 4, 1]
    assert answers[0] == (200, b"work of 1")
    assert [body for _, body in answers[1:]] == [
        b"b of 4",
        b"c of 4",
        b"d of 4",
        b"e of 4",
        b"f of 1",
    ]


def test_a_batch_is_of_one_endpoint_and_some_are_never_batched():
    async def check(pool):
        sizes = []
        pool.on_batch = sizes.append
        first = ask(pool, b"work", b"a", b"b")
        others = ask(pool, b"c", b"d", name="decode")
        single = ask(pool, b"e", b"f", name="traverse")
        return await asyncio.gather(first, others, single), sizes

    (first, others, single), sizes = run(check)
    assert [body for _, body in first] == [b"work of 1", b"a of 2", b"b of 2"]
    assert [body for _, body in others] == [b"c of 2", b"d of 2"]
    assert [body for _, body in single] == [b"e of 1", b"f of 1"]
    assert sizes == [1, 2, 2, 1, 1]


def test_a_request_that_kills_takes_no_other_with_it():
    async def check(pool):
        answers = await ask(pool, b"work", b"a", b"die", b"b")
        return answers, pool.restarts, await ask(pool, b"c")

    answers, restarts, after = run(check)
    assert [body for _, body in answers[:2]] == [b"work of 1", b"a of 1"]
    assert answers[2][0] == 503
    assert b"Workers died of this request." in answers[2][1]
    assert answers[3] == (200, b"b of 1")
    assert restarts == 2
    assert after == [(200, b"c of 1")]


def test_a_worker_that_hangs_is_replaced():
    async def check(pool):
        begin = time.monotonic()
        (status, body), *_ = await ask(pool, b"hang")
        assert (status, body) == (504, b'{"error":"No response within 0.5 seconds."}')
        assert time.monotonic() - begin < 2
        pool.timeout = 20
        return await ask(pool, b"a")

    assert run(check, timeout=0.5) == [(200, b"a of 1")]


def test_a_worker_that_works_for_long_is_not():
    async def check(pool):
        (worker,) = pool.workers
        await ask(pool, *[b"work"] * 5)  # each response takes 0.3 seconds, all of them 1.5
        while worker.jobs:
            await asyncio.sleep(0.1)
        return pool.restarts, worker.running

    assert run(check, timeout=1.1) == (0, True)


def test_the_queue_is_bounded(monkeypatch):
    monkeypatch.setattr(pools, "MAX_QUEUED", 3)

    async def check(pool):
        return await ask(pool, b"work", *[b"a"] * 5)

    answers = run(check)
    assert [status for status, _ in answers] == [200] * 4 + [503] * 2
    assert answers[5][1] == b'{"error":"3 requests wait already. Try again."}'


def test_without_a_worker_requests_get_503(monkeypatch):
    monkeypatch.setattr(pools, "MENDING", 0.3)

    async def check(pool):
        pool.command = [sys.executable, "-c", ""]  # which never becomes ready
        pool.workers[0].kill()
        await pool.workers[0].process.wait()
        assert pool.ready == 0
        refused = await ask(pool, b"a")
        pool.command = [sys.executable, "-c", OBEDIENT]
        until = time.monotonic() + 20
        while not pool.ready and time.monotonic() < until:
            await asyncio.sleep(0.05)
        return refused, await ask(pool, b"b")

    refused, answered = run(check)
    assert refused == [(503, b'{"error":"No worker is ready. Try again."}')]
    assert answered == [(200, b"b of 1")]


def test_workers_that_cannot_start_are_told():
    async def check(pool):
        raise AssertionError("it must not be entered")

    code = "from keras_disent.serving.messages import *; import sys; "
    code += "sys.stdout.buffer.write(pack(0, Response.of_error(500, 'no model')))"
    with pytest.raises(ValueError, match=r"^The workers cannot start: no model$"):
        run(check, code=code)
    with pytest.raises(ValueError, match=r"^The workers cannot start: "):
        run(check, code="raise SystemExit(1)")


# -- the server and its real workers --------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = trained("factor_vae")
    return export.model(model, tmp_path_factory.mktemp("exported") / "vae", "onnx")


def decoding(port):
    """Ask all the time; give a counter of statuses, errors and wrong answers."""
    body = {"inputs": {"codes": [[0.5] * LATENTS]}}
    right = np.array(Client(port).ask("/decode", body)[1]["outputs"]["decoded"])

    def ask(number, seen, ended):
        client = Client(port)
        while not ended.is_set():
            try:
                status, said = client.ask("/decode", body)
                if status == 200 and not np.allclose(said["outputs"]["decoded"], right, atol=1e-5):
                    status = "wrong"
                seen[status] += 1
            except (OSError, http.client.HTTPException) as error:
                seen[type(error).__name__] += 1
                client = Client(port)
                time.sleep(0.02)

    return asking(4, ask)


@here
def test_killed_workers_are_replaced_while_requests_are_answered(folder):
    with served(folder) as (process, port):
        states, restarts = set(), 0
        with decoding(port) as seen:
            for both in (False, False, True):
                time.sleep(0.3)
                for worker in workers_of(process) if both else workers_of(process)[:1]:
                    worker.kill()
                restarts = restarts + 2 if both else restarts + 1
                until = time.monotonic() + 60
                while (
                    f"restarts_total {restarts}.0" not in Client(port).ask("/metrics")[1].decode()
                ):
                    status, said = Client(port).ask("/health")
                    states.add((status, said["status"], said["ready"]))
                    assert time.monotonic() < until
                status, said = Client(port).ask("/health")
                states.add((status, said["status"], said["ready"]))
                wait_until_healthy(port, process)
            time.sleep(0.3)
        assert set(seen) <= {200, 503}, seen
        assert seen[200] > 20
        told = {(200, "degraded", 1), (503, "unavailable", 0)}
        assert states & told
        assert states <= told | {(200, "ok", 2)}


@here
def test_a_worker_that_was_stopped_is_replaced(folder):
    body = {"inputs": {"codes": [[0.5] * LATENTS]}}
    with served(folder, "--workers", "1", "--timeout", "3") as (process, port):
        workers_of(process)[0].send_signal(signal.SIGSTOP)
        status, said = Client(port).ask("/decode", body)
        assert (status, said) == (504, {"error": "No response within 3 seconds."})
        wait_until_healthy(port, process)
        assert Client(port).ask("/decode", body)[0] == 200


@here
def test_a_killed_server_leaves_no_process_and_a_free_port(folder):
    with served(folder) as (process, port), decoding(port) as seen:
        workers = workers_of(process)
        assert len(workers) == 2
        time.sleep(0.2)
        process.kill()
        process.wait()
        assert psutil.wait_procs(workers, timeout=10)[1] == []
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection("127.0.0.1", port).connect()
        assert seen[200] > 0
        assert "wrong" not in seen
