"""``sa3d`` in a process of its own, on the analytic scene of the tests."""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import CommandLine

from nerfstudio_plugin.cli import main
from sa3d.testing.analytic_scene import analytic_scene

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as photos:
        scene = analytic_scene(Path(photos), size=(96, 72), prepare=False)
        made = CommandLine(Path(), scene, None, scene.field)
        opening = "nerfstudio_plugin.runs.opening"
        sys.modules[opening] = SimpleNamespace(open_run=made.open_run)  # type: ignore[assignment]
        sys.exit(main(sys.argv[1:]))
