"""Which factors of Faces are found by which method, over several seeds, with scores and pictures.

    python benchmarks/faces.py --backend jax --out faces.json --pictures posters

Trains each method with the settings of the ready models of one person and of all, in run folders
that an interrupted call goes on with. A factor counts as found where its mutual information gap is
at least .5: one latent then says much more about it than any other. (A hue is a circle, of which
one latent holds a part.)
Prints a line for each run and tables at the end; JSON goes to `--out`, a poster of each run to
`--pictures`.
"""

import argparse
import json
import os
import time
from pathlib import Path

FOUND = 0.5
SETS = {
    # The ready model whose settings are taken, and the strength of each method.
    "person": ("faces_person", {"beta_vae": 4.0, "factor_vae": 40.0, "beta_tcvae": 40.0}),
    "all": ("faces", {"beta_vae": 4.0, "factor_vae": 20.0, "beta_tcvae": 20.0}),
}
SAMPLES = 10_000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"), required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=SETS["all"][1], default=None)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("runs/faces"), help="folder of the runs")
    parser.add_argument("--pictures", type=Path, help="draw a poster of each run there")
    parser.add_argument("--out", type=Path, help="write the JSON there")
    return parser.parse_args()


def main() -> None:
    """Train, measure, print."""
    args = arguments()
    os.environ["KERAS_BACKEND"] = args.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    results = []
    for which in args.sets:
        for method in args.methods or SETS[which][1]:
            for seed in args.seeds:
                results.append(measure(which, method, seed, args))
                print(line(results[-1]), flush=True)
                if args.out:
                    args.out.write_text(json.dumps(results, indent=1) + "\n")
    for which in args.sets:
        print(table([result for result in results if result["set"] == which]))


def measure(which: str, method: str, seed: int, args: argparse.Namespace) -> dict:
    """Train one run, or go on with it; return the gap of each factor, and its scores."""
    import numpy as np

    from keras_disent import metrics, plots
    from keras_disent.experiments import Config, Run
    from keras_disent.presets.recipes import recipe

    ready, strengths = SETS[which]
    strength = {"gamma" if method == "factor_vae" else "beta": strengths[method]}
    changed = {"model": method, "options": strength, "seed": seed, "metrics": ["mig"]}
    config = Config.from_dict({**recipe(ready), **changed})
    folder = args.runs / f"{which}_{method}_{seed}"
    run = Run.open(folder) if (folder / "config.json").exists() else Run.create(config, folder)
    if run.config != config.absolute():
        raise SystemExit(f"{str(folder)!r} holds another run. Choose other --runs.")
    start = time.perf_counter()
    model = run.train(pictures=False, verbose=0)
    seconds = time.perf_counter() - start

    data = run.data
    rng = np.random.default_rng(0)
    rows = rng.choice(len(data), min(SAMPLES, len(data)), replace=False)
    codes, factors = model.encode(data.images(rows)), data.factors(rows)
    varied = [i for i, size in enumerate(data.factor_sizes) if size > 1]
    gaps = {data.factor_names[i]: round(metrics.mig(codes, factors[:, [i]]), 3) for i in varied}
    images = data.images(rows[:64])
    importance = model.latent_importance(images)
    scores = metrics.score(codes, factors[:, varied], ["mig", "dci", "sap"])
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
        used = [int(i) for i in np.argsort(-importance) if importance[i] >= model.in_use]
        poster = plots.poster(model, images, latents=used, ends=2)
        plots.save(poster, args.pictures / f"{folder.name}.png")
    return {
        "set": which,
        "method": method,
        "seed": seed,
        **strength,
        "steps": config.steps,
        "gaps": gaps,
        "found": [name for name, gap in gaps.items() if gap >= FOUND],
        "scores": {name: round(float(scores[name]), 3) for name in scores},
        "latents_in_use": int((importance >= model.in_use).sum()),
        "seconds": round(seconds, 1),
    }


def line(result: dict) -> str:
    gaps = ", ".join(f"{name} {gap:.2f}" for name, gap in result["gaps"].items())
    return f"{result['set']} {result['method']} seed {result['seed']}: {gaps}"


def table(results: list[dict]) -> str:
    """Return a Markdown table of the runs of a set: how many seeds have each factor, and MIG."""
    methods = list(dict.fromkeys(result["method"] for result in results))
    runs = {method: [r for r in results if r["method"] == method] for method in methods}
    rows = [(results[0]["set"], *methods), ("---",) * (1 + len(methods))]
    for name in results[0]["gaps"]:
        counts = [sum(name in r["found"] for r in runs[method]) for method in methods]
        largest = [max(r["gaps"][name] for r in runs[method]) for method in methods]
        cells = zip(counts, largest, methods, strict=True)
        rows.append((name, *(f"{n} of {len(runs[m])} ({gap:.2f})" for n, gap, m in cells)))
    migs = (", ".join(f"{r['scores']['mig']:.2f}" for r in runs[method]) for method in methods)
    rows.append(("MIG of each seed", *migs))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


if __name__ == "__main__":
    main()
