"""Camera paths in the format of Nerfstudio's viewer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.geometry.camera import Camera


@dataclass(frozen=True)
class CameraPath:
    """A sequence of cameras to render.

    Attributes:
        cameras: one for each frame.
        fps: frames per second.
    """

    cameras: list[Camera]
    fps: float


def load_camera_path(path: Path) -> CameraPath:
    """Read a ``camera_path.json`` file.

    The file holds camera-to-world matrices (world frame), vertical fields of view in degrees, and
    the size of the frames in pixels.

    Raises:
        SA3DError: the file is missing or damaged, its cameras are not perspective, or it holds no
            frames.
    """
    content = read_json(path, "camera path")
    try:
        kind = str(content.get("camera_type", "perspective")).lower()
        width, height = int(content["render_width"]), int(content["render_height"])
        cameras = [_camera(frame, width, height) for frame in content["camera_path"]]
        fps = float(content.get("fps", 24))
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise SA3DError(
            f"{str(path)!r} is not a camera path of Nerfstudio's viewer ({error!r}): "
            "save one in the viewer's render tab"
        ) from error
    if kind != "perspective":
        raise SA3DError(f"camera path {str(path)!r} has {kind} cameras: only perspective works")
    if not cameras or min(width, height) < 1 or not fps > 0:
        raise SA3DError(f"camera path {str(path)!r} has no frames, no size or no frame rate")
    return CameraPath(cameras, fps)


def _camera(frame: dict[str, Any], width: int, height: int) -> Camera:
    field_of_view = float(frame["fov"])
    if not 0 < field_of_view < 180:
        raise ValueError(f"field of view {field_of_view:g}")
    focal = height / 2 / math.tan(math.radians(field_of_view) / 2)
    pose = torch.tensor(frame["camera_to_world"], dtype=torch.float32).reshape(4, 4)
    return Camera(
        c2w=pose[:3],
        fx=focal,
        fy=focal,
        cx=width / 2,
        cy=height / 2,
        width=width,
        height=height,
    )
