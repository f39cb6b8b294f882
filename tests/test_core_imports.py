from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import sa3d

CORE = Path(sa3d.__path__[0])
MODULES = sorted(
    ".".join(("sa3d", *path.relative_to(CORE).with_suffix("").parts))
    for path in CORE.rglob("*.py")
    if path.name != "__init__.py"
)
FORBIDDEN = {
    "nerfstudio",
    "nerfstudio_plugin",
    "viser",
    "transformers",
    "cv2",
    "scipy",
    "PIL",
    "skimage",
    "trimesh",
    "open3d",
    "av",
}
PROGRAM = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def imported_by(modules: list[str]) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(modules)],
        capture_output=True,
        text=True,
        check=True,
        cwd=CORE.parent,
    )
    return set(json.loads(result.stdout))


def test_core_imports_only_torch_and_numpy() -> None:
    assert {"sa3d.scene.scene", "sa3d.export.mesh", "sa3d.segmenters.graphcut.segmenter"} <= set(
        MODULES
    )
    assert not imported_by(MODULES) & FORBIDDEN


def test_the_package_itself_reaches_the_plugin_only_when_asked() -> None:
    assert not imported_by(["sa3d"]) & (FORBIDDEN | {"torch"})


def test_the_check_can_fail() -> None:
    assert imported_by(["sa3d.scene.scene", "PIL.Image"]) & FORBIDDEN == {"PIL"}
