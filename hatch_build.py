"""Put the engine of the page of knobs into every wheel, and beside the code of an editable install.

Where it cannot be fetched, the package is built without it, and the page says what to do.
"""

import importlib.util
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = Path(__file__).parent / "keras_disent" / "knobs" / "engine.py"


class EngineHook(BuildHookInterface):
    """Fetch the engine, unless it is there."""

    def initialize(self, version, build_data):
        spec = importlib.util.spec_from_file_location("engine", ENGINE)
        engine = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(engine)
        try:
            if not engine.installed():
                engine.fetch()
        except (RuntimeError, OSError) as error:
            self.app.display_warning(f"{error} Without it there are no pages of knobs.")
        folder = engine.FOLDER.relative_to(self.root).as_posix()
        build_data["artifacts"].append(f"/{folder}/*.gz")
