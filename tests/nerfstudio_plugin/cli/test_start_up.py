"""Start-up: help and mistakes load no heavy module, and no command starts a compile worker.

Counts modules and processes; times depend on the machine.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nerfstudio_plugin.cli import COMMANDS
from nerfstudio_plugin.cli.objects import ACTIONS
from nerfstudio_plugin.exports import KINDS

REPOSITORY = Path(__file__).parents[3]
CONFIGS = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for package in ("sa3d", "nerfstudio_plugin")
    for path in (REPOSITORY / package).glob("*/config.py")
    if path.parent.name != "train"  # the method's config extends Nerfstudio's
)
HELPS = [
    ["--help"],
    *([name, "--help"] for name in COMMANDS),
    *(["export", kind, "--help"] for kind in KINDS),
    *(["objects", action, "--help"] for action in ACTIONS),
]
MISTAKES = [
    ["segmnt"],
    ["segment", "--load-config", "config.yml", "--output", "out"],  # no prompt
    ["segment", "--output", "out", "--view", "a.jpg", "--points", "1,2"],  # no run
    ["prepare", "--load-cfg", "config.yml"],
    ["export", "mesh", "--output", "ball.glb"],
    ["objects", "paint", "ball", "--segmentation", "all"],
]

RUN = """
import contextlib, io, json, sys
from nerfstudio_plugin.cli import main

HEAVY = {"torch", "numpy", "scipy", "cv2", "PIL", "skimage", "transformers", "nerfstudio", "viser"}


def run(line):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            main(line)
        except SystemExit:
            pass
    return output.getvalue()


found = {}
for line in json.loads(sys.argv[1]):
    if not run(line):
        found[" ".join(line)] = ["prints nothing"]
    if heavy := HEAVY & set(sys.modules):
        found[" ".join(line)] = sorted(heavy)
print(json.dumps(found))
"""

CHILDREN = """
import json, os, sys
from pathlib import Path
from nerfstudio_plugin.cli import main

code = main(json.loads(sys.argv[1]))
children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
numbers = [number for file in children for number in file.read_text().split()]
print("CHILDREN", len(numbers), "splatfacto" in str(sorted(sys.modules)), code)
"""


def in_process(code: str, lines: object, **environment: str) -> str:
    """Run code in a fresh Python and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(lines, default=str)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def heavy_modules(lines: list[list[str]]) -> dict[str, list[str]]:
    """Return the heavy modules that are loaded after each command line."""
    return json.loads(in_process(RUN, lines))


def test_help_and_mistakes_load_nothing_heavy():
    assert heavy_modules(HELPS + MISTAKES) == {}


def test_a_saved_segmentation_is_described_without_torch(command_line, ball):
    folder = str(command_line.folder / ball)
    found = heavy_modules([["info", folder], ["objects", "list", "--segmentation", folder]])
    assert set().union(*found.values()) == {"numpy"}


def test_heavy_modules_are_seen(tmp_path):
    missing = ["render", "--segmentation", str(tmp_path), "--output", "pictures"]
    assert "torch" in heavy_modules([missing])[" ".join(missing)]


def test_settings_load_nothing_heavy():
    assert "sa3d.loop.config" in CONFIGS
    code = (
        "import importlib, json, sys; [importlib.import_module(n) for n in json.loads(sys.argv[1])]"
        "; print({'torch', 'numpy', 'scipy', 'cv2', 'nerfstudio'} & set(sys.modules))"
    )
    assert in_process(code, [*CONFIGS, "sa3d.loop.settings"]) == "set()\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts children in /proc")
@pytest.mark.parametrize(("environment", "children"), [({}, 0), ({"THREADS": "2"}, 1)])
def test_no_compile_worker_is_started(environment, children, tiny_run):
    """With more threads there is one, so the count can fail."""
    names = {f"TORCHINDUCTOR_COMPILE_{key}": value for key, value in environment.items()}
    out = in_process(CHILDREN, ["info", tiny_run], **names)
    assert out.splitlines()[-1] == f"CHILDREN {children} True 0"
