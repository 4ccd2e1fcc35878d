"""How soon does the page of knobs show what a slider has been moved to, and how large is it?

    python benchmarks/knobs.py --backend jax --out knobs.json
    python benchmarks/knobs.py --presets faces_person --sizes 64 --moves 500

Writes the page of each ready model, and of untrained beta-VAEs with the published networks at full
width (`--sizes`, in color, with their encoders), opens it in headless Chromium, and drags the first
slider from end to end and back with real mouse events, 60 a second. Prints JSON: `megabytes` of the
page, and of the times from an input event of the slider to the drawn picture, in milliseconds,
`median`, `p95` and `largest`, with their number `pictures`. Needs playwright and Chromium.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

# Notes the time of the first input event that no picture has answered, and of the next picture.
OBSERVE = """
window.times = [];
let moved = null;
document.addEventListener("input", () => { moved ??= performance.now(); }, true);
for (const name of ["putImageData", "drawImage"]) {
  const original = CanvasRenderingContext2D.prototype[name];
  CanvasRenderingContext2D.prototype[name] = function (...given) {
    original.apply(this, given);
    if (moved !== null && this.canvas === document.querySelector(".view > canvas")) {
      window.times.push(performance.now() - moved);
      moved = null;
    }
  };
}
"""
RATE = 60  # mouse events a second


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"), required=True)
    parser.add_argument("--presets", nargs="*", help="ready models; default: all but causal ones")
    parser.add_argument("--sizes", nargs="*", type=int, default=[64], help="untrained models")
    parser.add_argument("--moves", type=int, default=300)
    parser.add_argument("--out", type=Path, help="write the JSON there")
    return parser.parse_args()


def main() -> None:
    """Write pages, drag, print."""
    args = arguments()
    os.environ["KERAS_BACKEND"] = args.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        pages = written(args, Path(temporary))
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        result = {
            "pages": {name: measured(browser, path, args.moves) for name, path in pages.items()},
            "moves": args.moves,
            "browser": f"Chromium {browser.version}",
            "processor": platform.machine(),
            "processors": os.cpu_count(),
        }
        browser.close()
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def written(args: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Write the pages; return their paths by the names of the models."""
    from keras_disent import BetaVAE, datasets, knobs, presets
    from keras_disent.experiments import Run

    listed = presets.list()
    names = [p.name for p in listed if p.model != "CausalVAE"]
    pages = {}
    for name in names if args.presets is None else args.presets:
        pages[name] = Run.open(f"preset:{name}").knobs(folder / f"{name}.html")
    for size in args.sizes:
        model = BetaVAE((size, size, 3), 10, seed=0)
        path = folder / f"untrained_{size}.html"
        pages[f"untrained, {size} x {size}"] = knobs.write_page(model, datasets.Faces(size), path)
    return pages


def measured(browser: object, path: Path, moves: int) -> dict[str, float]:
    """Drag the first slider of a page; return the size of the page, and times."""
    import numpy as np

    page = browser.new_page()
    page.add_init_script(OBSERVE)
    page.goto(path.as_uri())
    page.wait_for_selector('html[data-state="ready"]', timeout=60_000)
    page.wait_for_selector('main[aria-busy="false"]', timeout=60_000)
    slider = page.locator('#latents input[type="range"]').first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    began = time.perf_counter()
    for number in range(moves):
        part = 0.5 + 0.45 * np.sin(2 * np.pi * number / 120)
        page.mouse.move(box["x"] + part * box["width"], y)
        time.sleep(max(0.0, began + (number + 1) / RATE - time.perf_counter()))
    page.mouse.up()
    page.wait_for_selector('main[aria-busy="false"]', timeout=30_000)
    times = page.evaluate("window.times")
    page.close()
    return {
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "pictures": len(times),
        "median": round(float(np.median(times)), 1),
        "p95": round(float(np.quantile(times, 0.95)), 1),
        "largest": round(max(times), 1),
    }


if __name__ == "__main__":
    main()
