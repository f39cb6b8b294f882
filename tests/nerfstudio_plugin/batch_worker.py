"""``sa3d`` on the analytic scene in a process of its own, as a worker."""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from conftest import CommandLine

from nerfstudio_plugin.cli import main
from sa3d.testing.analytic_scene import analytic_scene

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        scene = analytic_scene(Path(folder), size=(96, 72), prepare=False)
        made = CommandLine(Path(folder), scene, None, scene.field)
        sys.modules["nerfstudio_plugin.runs.opening"] = SimpleNamespace(open_run=made.open_run)
        sys.exit(main(sys.argv[1:]))
