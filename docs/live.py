"""Hook of mkdocs: the page of knobs of every ready model, written into the site under live/.

A build writes them all, which takes TensorFlow and some 20 seconds each; `mkdocs serve` keeps those
that are there.
"""

import html
import logging
import os
import subprocess
import sys
from pathlib import Path

from mkdocs.structure.files import File

from keras_disent import presets

LOG = logging.getLogger("mkdocs.hooks.live")
FOLDER = Path(__file__).parents[1] / "runs" / "live"
MARK = "<!-- live pages -->"
state = {"keep": False, "written": {}}


def on_startup(*, command, dirty):
    """Note whether pages are kept that are there."""
    state["keep"] = command == "serve"


def on_files(files, config):
    """Write the pages, and add them to the site."""
    state["written"] = {}
    for preset in presets.list():
        path = FOLDER / f"{preset.name}.html"
        if (state["keep"] and path.is_file()) or write(f"preset:{preset.name}", path):
            state["written"][preset.name] = path
            files.append(File.generated(config, f"live/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Put the pages where `live.md` has its mark."""
    if MARK not in markdown:
        return markdown
    made = [preset for preset in presets.list() if preset.name in state["written"]]
    return markdown.replace(MARK, "\n\n".join(map(section, made)))


def write(run, path):
    """Write the page of a run or preset; return whether it is there, and say why it is not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "keras_disent.cli", "knobs", run, "--out", str(path)]
    env = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace")
    if done.returncode:
        LOG.warning("No page of %s: %s", run, (done.stderr.strip().splitlines() or [""])[-1])
    return done.returncode == 0


def section(preset):
    """Return the part of the page about one preset, as Markdown."""
    address, path = f"live/{preset.name}.html", state["written"][preset.name]
    title = html.escape(f"Page of knobs of {preset.name}")
    return (
        f"## {preset.name.replace('_', ' ')}\n\n"
        f"{preset.description} *{preset.model}, trained on {preset.data}.* "
        f"[Open the page]({address}) ({path.stat().st_size / 1e6:.1f} MB).\n\n"
        f"<details><summary>Show it here</summary>"
        f'<iframe class="live" loading="lazy" title="{title}" src="{address}"></iframe>'
        f"</details>"
    )
