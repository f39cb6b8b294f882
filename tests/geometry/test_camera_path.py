from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.geometry.camera_path import load_camera_path

POSE = [1, 0, 0, 0.5, 0, 1, 0, 0.25, 0, 0, 1, 2, 0, 0, 0, 1]
PATH: dict[str, Any] = {
    "camera_type": "perspective",
    "render_height": 200,
    "render_width": 300,
    "fps": 12,
    "seconds": 1.0,
    "camera_path": [
        {"camera_to_world": POSE, "fov": 90, "aspect": 1.5},
        {"camera_to_world": POSE, "fov": 60, "aspect": 1.5},
    ],
}


def test_cameras(tmp_path: Path) -> None:
    (tmp_path / "path.json").write_text(json.dumps(PATH))
    path = load_camera_path(tmp_path / "path.json")
    first, second = path.cameras
    assert path.fps == 12
    assert (first.width, first.height, first.cx, first.cy) == (300, 200, 150, 100)
    assert first.fx == first.fy == pytest.approx(100)
    assert second.fy == pytest.approx(173.2, abs=0.01)
    assert first.index == -1
    assert first.position.tolist() == [0.5, 0.25, 2.0]
    # The top edge of the image is half the vertical field of view away from the axis.
    edge, _ = first.project(torch.tensor([[0.5, 1.25, 1.0]]))
    assert edge[0].tolist() == pytest.approx([150, 0], abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera_type": "equirectangular"}, "only perspective"),
        ({"camera_path": []}, "no frames"),
        ({"fps": 0}, "no frame rate"),
        ({"camera_path": [{"camera_to_world": POSE[:9], "fov": 60}]}, "is not a camera path"),
        ({"camera_path": [{"camera_to_world": POSE, "fov": None}]}, "is not a camera path"),
        ({"camera_path": [{"camera_to_world": POSE, "fov": 180}]}, "field of view 180"),
        ({"render_width": None}, "is not a camera path"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "path.json").write_text(json.dumps(PATH | change))
    with pytest.raises(SA3DError, match=message):
        load_camera_path(tmp_path / "path.json")


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match="cannot read camera path"):
        load_camera_path(tmp_path / "path.json")
    (tmp_path / "path.json").write_text("{")
    with pytest.raises(SA3DError, match="not valid JSON"):
        load_camera_path(tmp_path / "path.json")
    (tmp_path / "path.json").write_text("[]")
    with pytest.raises(SA3DError, match="is not a camera path"):
        load_camera_path(tmp_path / "path.json")
