"""How many requests does the server answer, how quickly, and what does batching bring?

    python benchmarks/serving.py --out serving.json
    python benchmarks/serving.py --folder runs/a/export/onnx --clients 16

Exports a convolutional FactorVAE at 64x64x1 (or takes an artifact), serves it on this machine with
batching and without (at most one request at a time), and sends the same requests to both in turns:
`encode`, `decode` and `reconstruct` of 1 to 4 rows, over connections that are kept open, a few of
them malformed. Every answer is compared with ONNX Runtime's; a malformed request has to get 4xx.
Prints JSON: milliseconds as the clients see them, requests per second, and `ratio` (with batching /
without, median over the rounds). `cpu_ms` is the processor time that all processes of the server
take for a request, which moves less with the load of the machine. Clients and server share the
processors.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil

from keras_disent.artifact import read_card

ENDPOINTS = ("encode", "decode", "reconstruct")
START = 120  # seconds that a server may take to start
ROOT = Path(__file__).parents[1]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="a model exported as onnx")
    parser.add_argument("--images", choices=("float32", "uint8"), default="float32")
    parser.add_argument("--requests", type=int, default=2_000, help="to each of the two servers")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--malformed", type=float, default=0.03, help="share of the requests")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--wait", type=float, default=5.0, help="milliseconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end too
    with tempfile.TemporaryDirectory() as own, contextlib.ExitStack() as servers:
        folder = args.folder or exported(Path(own) / "model", args.images)
        asked = questions(folder, args)
        running = {
            "batched": servers.enter_context(served(folder, args.batch, args.wait)),
            "single": servers.enter_context(served(folder, 1, args.wait)),
        }
        for server in running.values():
            load(*server, asked[: 4 * args.clients], args.clients)
        rounds = {name: [] for name in running}
        for number in range(args.rounds):
            part = asked[number :: args.rounds]
            for name in sorted(running, reverse=bool(number % 2)):
                rounds[name].append(load(*running[name], part, args.clients))
                print(name, json.dumps(summary(rounds[name])), file=sys.stderr, flush=True)
    report = {
        "requests": args.requests,
        "malformed": sum(right is None for _, _, right in asked),
        "clients": args.clients,
        "rounds": args.rounds,
        "batch": args.batch,
        "wait_ms": args.wait,
        "processors": len(os.sched_getaffinity(0)),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("litserve", "onnxruntime")},
        **{name: summary(of) for name, of in rounds.items()},
    }
    pairs = zip(rounds["batched"], rounds["single"], strict=True)
    ratios = [single / batched for (_, batched, _), (_, single, _) in pairs]
    report["ratio"] = round(statistics.median(ratios), 3)
    report["ratio_min"], report["ratio_max"] = round(min(ratios), 3), round(max(ratios), 3)
    text = json.dumps(report)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def exported(folder, images):
    """Export a model in a process of its own: no backend is needed afterward."""
    code = f"""
from keras_disent import FactorVAE, export
export.model(FactorVAE((64, 64, 1), seed=0), {str(folder)!r}, "onnx", images={images!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600, env=environment())
    return folder


def environment():
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": path,
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


@contextlib.contextmanager
def served(folder, batch, wait):
    """Serve a folder; give its process and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "keras_disent.cli", "serve", folder, "--port", str(port)]
    options = ["--batch", str(batch), "--wait", str(wait)]
    server = subprocess.Popen(
        [*command, *options],
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + START
        while not healthy(port):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError("The server did not start.")
            time.sleep(0.1)
        yield server.pid, port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=30)


def healthy(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def questions(folder, args):
    """Return (path, body, right outputs or None for a malformed one)."""
    import onnxruntime

    card, rng = read_card(folder), np.random.default_rng(args.seed)
    sessions = {name: onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ENDPOINTS}
    asked = []
    for number in range(args.requests):
        name = ENDPOINTS[number % len(ENDPOINTS)]
        (array,) = card["endpoints"][name]["inputs"]
        shape = (int(rng.integers(1, 5)), *array["shape"][1:])
        if name == "decode":
            given = rng.normal(size=shape).astype("float32")
        else:
            given = rng.integers(0, 256, shape, dtype="uint8")
        if rng.uniform() < args.malformed:
            body = json.dumps({"inputs": {array["name"]: given[..., :0].tolist()}})
            asked.append((f"/{name}", body.encode(), None))
            continue
        outputs = [output["name"] for output in card["endpoints"][name]["outputs"]]
        right = dict(zip(outputs, sessions[name].run(outputs, {array["name"]: given}), strict=True))
        body = json.dumps({"inputs": {array["name"]: given.tolist()}})
        asked.append((f"/{name}", body.encode(), right))
    return asked


def processor_time(pid):
    """Return the seconds that a server and all its workers have taken so far."""
    server = psutil.Process(pid)
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def load(pid, port, asked, clients):
    """Ask everything; return the seconds of each request, of all together, and the server's own.

    The answers are checked when the clock has stopped.

    Raises:
        AssertionError: if an answer is wrong.
    """

    def work(own):
        connection, done = http.client.HTTPConnection("127.0.0.1", port, timeout=60), []
        for path, body, _ in own:
            start = time.perf_counter()
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            done.append((time.perf_counter() - start, answer.status, content))
        connection.close()
        return done

    shares = [asked[number::clients] for number in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        start, busy = time.perf_counter(), processor_time(pid)
        done = list(pool.map(work, shares))
        whole, busy = time.perf_counter() - start, processor_time(pid) - busy
    seconds = []
    for own, answers in zip(shares, done, strict=True):
        for (path, _, right), (took, status, content) in zip(own, answers, strict=True):
            check(path, right, status, json.loads(content))
            seconds.append(took)
    return seconds, whole, busy


def check(path, right, status, said):
    if right is None:
        assert 400 <= status < 500, (path, status)
        assert said["error"], path
        return
    assert status == 200, (path, status, said)
    for name, array in right.items():
        np.testing.assert_allclose(np.array(said["outputs"][name]), array, atol=1e-5, err_msg=path)


def summary(rounds):
    milliseconds = 1000 * np.concatenate([seconds for seconds, _, _ in rounds])
    percentiles = np.percentile(milliseconds, [50, 90, 99])
    return {
        "per_second": round(len(milliseconds) / sum(whole for _, whole, _ in rounds), 1),
        **{f"p{p}_ms": round(v, 1) for p, v in zip((50, 90, 99), percentiles, strict=True)},
        "cpu_ms": round(1000 * sum(busy for _, _, busy in rounds) / len(milliseconds), 1),
    }


if __name__ == "__main__":
    main()
