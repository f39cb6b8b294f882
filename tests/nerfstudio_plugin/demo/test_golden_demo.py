"""Golden numbers: the whole demo, as ``make demo`` runs it, on the shipped room."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nerfstudio_plugin.demo.data import open_demo

MEAN_FLOOR, WORST_FLOOR = 0.90, 0.80
"""Mean IoU over all views: the mean over objects, and the worst object."""

BOUND_FLOOR = 0.92
"""Worst object's mean IoU with exact masks in every view: the limit of this NeRF and grid."""


def checkpoint_hash() -> str:
    [checkpoint] = (open_demo("room").load_config.parent / "nerfstudio_models").glob("*.ckpt")
    return hashlib.sha256(checkpoint.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, room_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    (folder / "cache").symlink_to(room_cache)
    before = checkpoint_hash()
    run([str(Path(sys.executable).parent / "sa3d"), "demo", "--output", str(folder)])
    assert checkpoint_hash() == before
    return folder


@pytest.fixture(scope="module")
def results(output: Path) -> dict[str, Any]:
    return json.loads((output / "room" / "results.json").read_text())


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_accuracy_floors(results: dict[str, Any]) -> None:
    scores = results["iou"]
    assert len(scores["objects"]) >= 5
    assert scores["mean"]["converged"] >= MEAN_FLOOR
    assert scores["worst"]["converged"] >= WORST_FLOOR
    assert scores["worst"]["upper_bound"] >= BOUND_FLOOR


@pytest.mark.slow
def test_no_object_is_worse_than_its_lifted_view(results: dict[str, Any]) -> None:
    for name, stages in results["iou"]["objects"].items():
        assert stages["converged"] > stages["lifted"], name


@pytest.mark.slow
def test_every_object_has_its_files(results: dict[str, Any]) -> None:
    assert set(results["files"]) == set(results["iou"]["objects"])


@pytest.mark.slow
def test_every_object_is_found_without_a_prompt(output: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "scripts/benchmarks/everything.py"
    options = ["--demo", "room", "--cache-dir", str(output / "cache"), "--output", str(tmp_path)]
    run([sys.executable, str(script), *options])
    numbers = json.loads((tmp_path / "room.json").read_text())
    assert (numbers["precision"], numbers["recall"]) == (1.0, 1.0)
