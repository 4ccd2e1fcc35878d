"""How many requests does the server answer, how quickly, how exactly, and what survives a kill?

    python benchmarks/serving.py --out serving.json
    python benchmarks/serving.py --parts speed --against ../older --rounds 4
    python benchmarks/serving.py --folder runs/a/export/onnx --clients 16

Exports a convolutional FactorVAE at 64x64x1 (or takes an artifact), serves it on this machine, and
asks it over connections that are kept open. Three parts:

- `speed`: `encode` of one image each, in every form of a request, in turns. With `--against`, the
  server of another checkout answers in the same turns, in the forms that it knows.
- `exact`: `encode`, `decode` and `reconstruct` of 1 to 4 rows in both protocols and all forms, a
  few of the requests malformed. Every answer is compared with ONNX Runtime's; a malformed request
  has to get status 400.
- `kills`: while clients ask, workers are killed by SIGKILL, and then the main process of one server
  after the other. Counts what clients saw, the seconds until all workers were ready again, and the
  processes that were left.

Prints JSON: milliseconds as the clients see them, requests per second, and `cpu_ms`, the processor
time that all processes of the server take for a request, which moves less with the load of the
machine. Clients and server share the processors.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil

from keras_disent.serving import read_card

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.served import asking, free_port, npy_file, picture, picture_file

ENDPOINTS = ("encode", "decode", "reconstruct")
DATATYPES = {"uint8": "UINT8", "float32": "FP32"}
START = 120  # seconds that a server may take to start
PART = 1_000  # requests that are made and checked together, to bound the memory
ROOT = Path(__file__).parents[1]
JSON = {"Content-Type": "application/json"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="a model exported as onnx")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--against", type=Path, help="checkout of another version, for `speed`")
    parser.add_argument("--images", choices=("float32", "uint8"), default="float32")
    parser.add_argument("--requests", type=int, default=12_000, help="of `exact`")
    parser.add_argument("--per-form", type=int, default=2_000, help="requests of each in `speed`")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4, help="of `speed`")
    parser.add_argument("--malformed", type=float, default=0.05, help="share of the requests")
    parser.add_argument("--kills", type=int, default=20, help="of workers, and of main processes")
    parser.add_argument("--options", default="", help="further options of the server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end too
    report = {
        "clients": args.clients,
        "processors": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("uvicorn", "onnxruntime", "numpy")},
    }
    with tempfile.TemporaryDirectory() as own:
        folder = args.folder or exported(Path(own) / "model", args.images)
        for part in args.parts:
            report[part] = PARTS[part](folder, args)
            print(part, json.dumps(report[part]), file=sys.stderr, flush=True)
    text = json.dumps(report)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


# -- servers --------------------------------------------------------------------------------------


def exported(folder, images):
    """Export a model in a process of its own: no backend is needed afterward."""
    code = f"""
from keras_disent import FactorVAE, export
export.model(FactorVAE((64, 64, 1), seed=0), {str(folder)!r}, "onnx", images={images!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600, env=environment())
    return folder


def environment(root=ROOT):
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": path,
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def start(folder, port, *options, root=ROOT):
    """Start a server, and return its process when it is healthy."""
    command = [sys.executable, "-P", "-m", "keras_disent.cli", "serve", str(folder)]
    server = subprocess.Popen(
        [*command, "--port", str(port), *options],
        env=environment(root),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + START
    while not health(port):
        if server.poll() is not None or time.monotonic() > until:
            stop(server)
            raise RuntimeError("The server did not start.")
        time.sleep(0.05)
    return server


def stop(server):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(timeout=30)


@contextlib.contextmanager
def served(folder, *options, root=ROOT):
    """Serve a folder; give the process and its port."""
    port = free_port()
    server = start(folder, port, *options, root=root)
    try:
        yield server.pid, port
    finally:
        stop(server)


def health(port):
    """Return what the server says of its health with status 200, else None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        content = answer.read()
        return content if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def processor_time(pid):
    """Return the seconds that a server and all its workers have taken so far."""
    server = psutil.Process(pid)
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(time.user + time.system for time in times)


# -- requests: (path, headers, body) --------------------------------------------------------------


def as_json(name, inputs):
    lists = {key: array.tolist() for key, array in inputs.items()}
    return f"/{name}", JSON, json.dumps({"inputs": lists}).encode()


def as_base64(name, inputs):
    body = {"inputs": {"images": [picture(image) for image in inputs["images"]]}}
    return f"/{name}", JSON, json.dumps(body).encode()


def as_png(name, inputs):
    return f"/{name}", {"Content-Type": "image/png"}, picture_file(inputs["images"][0])


def as_jpeg(name, inputs):
    return f"/{name}", {"Content-Type": "image/jpeg"}, picture_file(inputs["images"][0], "JPEG")


def as_npy(name, inputs):
    (array,) = inputs.values()
    return f"/{name}", {"Content-Type": "application/x-npy"}, npy_file(array)


def as_v2_json(name, inputs):
    tensors = [{**tensor(*item), "data": item[1].ravel().tolist()} for item in inputs.items()]
    return f"/v2/models/{name}/infer", JSON, json.dumps({"inputs": tensors}).encode()


def as_v2_binary(name, inputs):
    tensors = [
        {**tensor(*item), "parameters": {"binary_data_size": item[1].nbytes}}
        for item in inputs.items()
    ]
    content = {"inputs": tensors, "parameters": {"binary_data_output": True}}
    head = json.dumps(content).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    body = b"".join([head, *(array.tobytes() for array in inputs.values())])
    return f"/v2/models/{name}/infer", headers, body


def tensor(name, array):
    return {"name": name, "shape": array.shape, "datatype": DATATYPES[array.dtype.name]}


FORMS = {
    "json": as_json,
    "base64": as_base64,
    "png": as_png,
    "jpeg": as_jpeg,
    "npy": as_npy,
    "v2_json": as_v2_json,
    "v2_binary": as_v2_binary,
}
OLDER = ("json", "base64")  # forms that every version knows


def outputs(headers, content):
    """Return the outputs of a response, as arrays."""
    length = headers.get("Inference-Header-Content-Length")
    if length is None and content.startswith(b'{"outputs":{'):
        named = json.loads(content)["outputs"]
        return {name: np.array(value) for name, value in named.items()}
    head, raw = json.loads(content[: int(length)] if length else content), content
    raw, arrays = raw[int(length) :] if length else b"", {}
    for output in head["outputs"]:
        dtype = {text: name for name, text in DATATYPES.items()}[output["datatype"]]
        if "data" in output:
            array = np.array(output["data"], dtype)
        else:
            size = output["parameters"]["binary_data_size"]
            array, raw = np.frombuffer(raw[:size], dtype), raw[size:]
        arrays[output["name"]] = array.reshape(output["shape"])
    return arrays


class Client:
    """Ask over one connection, which is opened again when it is lost."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def ask(self, path, headers, body):
        """Return status, headers and content."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            self.connection.request("POST", path, body, headers)
            answer = self.connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def load(pid, port, asked, clients):
    """Ask everything; return the answers in order, and the seconds of all and of the server."""

    def work(own):
        client, done = Client(port), []
        for request in own:
            begin = time.perf_counter()
            status, headers, content = client.ask(*request)
            done.append((time.perf_counter() - begin, status, headers, content))
        client.close()
        return done

    with ThreadPoolExecutor(clients) as pool:
        begin, busy = time.perf_counter(), processor_time(pid)
        shares = list(pool.map(work, [asked[number::clients] for number in range(clients)]))
        whole, busy = time.perf_counter() - begin, processor_time(pid) - busy
    answers = [None] * len(asked)
    for number, share in enumerate(shares):
        answers[number::clients] = share
    return answers, whole, busy


# -- the parts ------------------------------------------------------------------------------------


def speed(folder, args):
    """Measure `encode` of one image in each form, in turns."""
    (array,) = read_card(folder)["endpoints"]["encode"]["inputs"]
    rng = np.random.default_rng(args.seed)
    images = rng.integers(0, 256, (args.per_form // args.rounds, *array["shape"][1:]), "uint8")
    asked = {
        form: [make("encode", {"images": image[None]}) for image in images]
        for form, make in FORMS.items()
    }
    options = args.options.split()
    with contextlib.ExitStack() as servers:
        now = servers.enter_context(served(folder, *options))
        runs = {form: (now, asked[form]) for form in FORMS}
        if args.against:
            other = servers.enter_context(served(folder, root=args.against.absolute()))
            runs |= {f"against_{form}": (other, asked[form]) for form in OLDER}
        for server, requests in runs.values():
            load(*server, requests[: 4 * args.clients], args.clients)
        rounds = {name: [] for name in runs}
        for number in range(args.rounds):
            for name in sorted(runs, reverse=bool(number % 2)):
                server, requests = runs[name]
                answers, whole, busy = load(*server, requests, args.clients)
                assert all(status == 200 for _, status, _, _ in answers), name
                rounds[name].append(([seconds for seconds, *_ in answers], whole, busy))
    report = {name: summary(of) for name, of in rounds.items()}
    if args.against:
        for name in (*OLDER, "npy", "v2_binary", "png"):
            base = f"against_{name if name in OLDER else 'json'}"
            pairs = zip(rounds[name], rounds[base], strict=True)
            report[name]["times_older_json"] = round(
                statistics.median(old[1] / new[1] for new, old in pairs), 2
            )
    return report


def summary(rounds):
    milliseconds = 1000 * np.concatenate([seconds for seconds, _, _ in rounds])
    percentiles = np.percentile(milliseconds, [50, 90, 99])
    return {
        "per_second": round(len(milliseconds) / sum(whole for _, whole, _ in rounds), 1),
        **{f"p{p}_ms": round(v, 1) for p, v in zip((50, 90, 99), percentiles, strict=True)},
        "cpu_ms": round(1000 * sum(busy for _, _, busy in rounds) / len(milliseconds), 2),
    }


def questions(folder, count, malformed, seed):
    """Return requests, and the right outputs of each, or None for a malformed one."""
    import onnxruntime

    card, rng = read_card(folder), np.random.default_rng(seed)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # others would wait for each other on a busy machine
    sessions = {
        name: onnxruntime.InferenceSession(folder / f"{name}.onnx", options) for name in ENDPOINTS
    }
    asked = []
    for number in range(count):
        name = ENDPOINTS[number % len(ENDPOINTS)]
        forms = list(FORMS) if name != "decode" else ["json", "npy", "v2_json", "v2_binary"]
        forms.remove("jpeg") if "jpeg" in forms else None  # its pixels are others
        form = forms[number // len(ENDPOINTS) % len(forms)]
        (array,) = card["endpoints"][name]["inputs"]
        shape = (1 if form == "png" else int(rng.integers(1, 5)), *array["shape"][1:])
        if name == "decode":
            given = rng.normal(size=shape).astype("float32")
        else:
            given = rng.integers(0, 256, shape, dtype="uint8")
        request = FORMS[form](name, {array["name"]: given})
        if rng.uniform() < malformed:
            asked.append((broken(request, form, name, array["name"], given, rng), None))
            continue
        names = [output["name"] for output in card["endpoints"][name]["outputs"]]
        right = sessions[name].run(names, {array["name"]: given})
        asked.append((request, dict(zip(names, right, strict=True))))
    return asked


def broken(request, form, name, key, given, rng):
    """Return a request of the same form that is cut, or has another shape or dtype."""
    path, headers, body = request
    kind = rng.integers(3)
    if kind == 0 or form in ("png", "base64"):
        return path, headers, body[: len(body) // 2]
    wrong = given[:, :1] if kind == 1 else given.astype("float32" if key == "images" else "uint8")
    if kind == 2 and key == "images":
        wrong = wrong + 0.5
    if kind == 2 and key == "codes" and not form.startswith("v2"):
        wrong = np.full_like(given, np.nan)
    return FORMS[form](name, {key: wrong})


def exact(folder, args):
    """Compare every answer with ONNX Runtime's, a thousand at a time."""
    statuses, wrong, rounds, malformed = Counter(), [], [], 0
    with served(folder, *args.options.split()) as server:
        for start in range(0, args.requests, PART):
            count = min(PART, args.requests - start)
            asked = questions(folder, count, args.malformed, args.seed + start)
            answers, whole, busy = load(*server, [request for request, _ in asked], args.clients)
            rounds.append(([seconds for seconds, *_ in answers], whole, busy))
            for (request, right), (_, status, *answer) in zip(asked, answers, strict=True):
                malformed += right is None
                statuses[f"{'malformed' if right is None else 'valid'} {status}"] += 1
                if not is_right(right, status, *answer):
                    wrong.append([request[0], status, answer[1][:200].decode("utf-8", "replace")])
            print("exact", start + count, dict(statuses), file=sys.stderr, flush=True)
        alive = json.loads(health(server[1]))
    return {
        "requests": args.requests,
        "malformed": malformed,
        "statuses": dict(statuses),
        "wrong": len(wrong),
        "first_wrong": wrong[:3],
        "health": alive,
        **summary(rounds),
    }


def is_right(right, status, headers, content):
    if right is None:
        return status == 400 and b'"error"' in content and b"\n" not in content
    if status != 200:
        return False
    found = outputs(headers, content)
    return set(found) == set(right) and all(
        found[name].shape == array.shape and np.allclose(found[name], array, rtol=0, atol=1e-5)
        for name, array in right.items()
    )


def kills(folder, args):
    """Kill workers, then main processes, while clients ask."""
    asked = questions(folder, 400, 0, args.seed)
    rng = random.Random(args.seed)
    report = {"of_workers": kill_workers(folder, args, asked, rng)}
    report["of_main"] = kill_main(folder, args, asked, rng)
    return report


def traffic(port, asked, clients):
    """Ask again and again; give a counter of what the clients saw."""

    def ask(number, seen, ended):
        client = Client(port)
        while not ended.is_set():
            for request, right in asked[number::clients]:
                try:
                    answer = client.ask(*request)
                    good = is_right(right, *answer) if answer[0] == 200 else None
                    seen[str(answer[0]) if good is not False else "wrong"] += 1
                except (OSError, http.client.HTTPException) as error:
                    seen[type(error).__name__] += 1
                    time.sleep(0.05)
                if ended.is_set():
                    break
        client.close()

    return asking(clients, ask)


def kill_workers(folder, args, asked, rng):
    """Kill one worker after another, and every fifth time all of them at once."""
    seconds, degraded = [], 0
    with served(folder, *args.options.split()) as (pid, port):
        with traffic(port, asked, args.clients) as seen:
            for number in range(args.kills):
                time.sleep(rng.uniform(0.2, 0.8))
                workers = psutil.Process(pid).children()
                for worker in workers if number % 5 == 4 else [rng.choice(workers)]:
                    worker.kill()
                begin = time.monotonic()
                time.sleep(0.02)
                first = health(port)
                degraded += first is None or json.loads(first)["status"] != "ok"
                while True:
                    said = health(port)
                    if said is not None and json.loads(said)["status"] == "ok":
                        break
                    assert time.monotonic() < begin + 60, "a worker was not replaced"
                    time.sleep(0.02)
                seconds.append(time.monotonic() - begin)
        workers = len(psutil.Process(pid).children())
    return {
        "kills": args.kills,
        "seen": dict(seen),
        "health_told": degraded,
        "mended_s": {"median": round(statistics.median(seconds), 2), "max": round(max(seconds), 2)},
        "workers": workers,
    }


def kill_main(folder, args, asked, rng):
    """Kill the main process of a server; start the next one on the same port."""
    port, seconds, left, total = free_port(), [], 0, Counter()
    for _ in range(args.kills):
        server = start(folder, port, *args.options.split())
        try:
            processes = psutil.Process(server.pid).children(recursive=True)
            with traffic(port, asked, args.clients) as seen:
                time.sleep(rng.uniform(0.1, 0.5))
                server.kill()
                begin = time.monotonic()
                server.wait()
                alive = psutil.wait_procs(processes, timeout=10)[1]
                seconds.append(time.monotonic() - begin)
                left += len(alive)
                with socket.socket() as probe:  # the port is free
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            total += seen
        finally:
            stop(server)
    return {
        "kills": args.kills,
        "seen": dict(total),
        "processes_left": left,
        "gone_s": {"median": round(statistics.median(seconds), 2), "max": round(max(seconds), 2)},
    }


PARTS = {"speed": speed, "exact": exact, "kills": kills}

if __name__ == "__main__":
    main()
