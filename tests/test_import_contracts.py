"""The import contracts of ``pyproject.toml`` hold, and each of them can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGES = ("sa3d", "nerfstudio_plugin")
CONTRACTS = {
    one["id"]: one["name"]
    for one in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
}
VIOLATIONS = {
    "core-layers": ("sa3d/base/errors.py", "import sa3d.scene.scene"),
    "plugin-layers": ("nerfstudio_plugin/runs/cameras.py", "import nerfstudio_plugin.viewer.panel"),
    "core-knows-no-framework": ("sa3d/scene/scene.py", "import nerfstudio"),
    "transformers-stays-in-its-rooms": ("sa3d/loop/session.py", "import transformers"),
    "product-without-testing": (
        "nerfstudio_plugin/runs/cameras.py",
        "import sa3d.testing.random_sam",
    ),
    "no-circles": ("sa3d/geometry/camera.py", "import sa3d.geometry.camera_path"),
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of both packages' modules, to break."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        for module in (ROOT / package).rglob("*.py"):
            place = folder / module.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(module, place)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command as run; run()"
    chosen = [part for contract in contracts for part in ("--contract", contract)]
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--no-logo", *chosen],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": "", "PYTHONPATH": str(folder), "COLUMNS": "200"},
    )


def test_every_contract_holds(copied: Path) -> None:
    result = lint(copied)
    assert result.returncode == 0, result.stdout
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in result.stdout


def test_every_contract_has_a_violation_here() -> None:
    assert set(VIOLATIONS) == set(CONTRACTS)


@pytest.mark.parametrize("contract", sorted(VIOLATIONS))
def test_a_contract_can_fail(copied: Path, contract: str) -> None:
    name, statement = VIOLATIONS[contract]
    module = copied / name
    original = module.read_text(encoding="utf-8")
    module.write_text(f"{original}\n{statement}\n", encoding="utf-8")
    try:
        result = lint(copied, contract)
    finally:
        module.write_text(original, encoding="utf-8")
    assert result.returncode == 1
    assert f"{CONTRACTS[contract]} BROKEN" in result.stdout


def test_every_room_has_a_row_in_the_architecture() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    sections = dict(zip(PACKAGES, page.split("## The rooms of ")[1:], strict=True))
    for package, section in sections.items():
        rows = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
        rooms = {place.parent.name for place in (ROOT / package).glob("*/__init__.py")}
        assert rows == rooms
