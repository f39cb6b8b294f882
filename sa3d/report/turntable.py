"""An object turning round: where the cameras stand, and the moving picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sa3d.export.box import Box
from sa3d.geometry.camera import Camera
from sa3d.scene.scene import Scene

_FIELD_OF_VIEW = math.radians(30)
_ROOM = 1.04
"""How much larger than the object's sphere a picture is."""
_ALL_AROUND = math.radians(120)
"""Cameras with no gap wider than this between them have seen the object from all around."""
_MILLISECONDS = 90


def turntable_cameras(scene: Scene, box: Box, frames: int, side: int) -> list[Camera]:
    """Cameras once around a box, as high as the photos' are.

    Where the photos leave a wide gap, the cameras swing to and fro opposite to it instead: no
    photo says how the object looks from there.
    """
    center = torch.tensor(box.center, dtype=torch.float32)
    offsets = torch.stack([view.camera.position.cpu().float() for view in scene.views]) - center
    height = float(torch.atan2(offsets[:, 2], offsets[:, :2].norm(dim=-1)).median())
    distance = _ROOM * np.linalg.norm(box.dimensions) / 2 / math.sin(_FIELD_OF_VIEW / 2)
    focal = side / 2 / math.tan(_FIELD_OF_VIEW / 2)
    cameras = []
    for angle in _angles(torch.atan2(offsets[:, 1], offsets[:, 0]), frames):
        level = distance * math.cos(height)
        back = (level * math.cos(angle), level * math.sin(angle), distance * math.sin(height))
        pose = _looking_back(torch.tensor(back), center)
        cameras.append(Camera(pose, focal, focal, side / 2, side / 2, side, side))
    return cameras


def animated_webp(pictures: Sequence[np.ndarray]) -> bytes:
    """Pictures, uint8 [H, W, 4], as an animated WebP that repeats for ever."""
    from PIL import Image

    first, *others = [Image.fromarray(pixels, "RGBA") for pixels in pictures]
    stream = io.BytesIO()
    first.save(
        stream,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=_MILLISECONDS,
        loop=0,
        quality=75,
        method=4,
    )
    return stream.getvalue()


def _angles(seen: Tensor, frames: int) -> list[float]:
    """Azimuths of the turn, given those of the photos [V], in radians."""
    ordered = seen.sort().values
    gaps = torch.cat([ordered[1:], ordered[:1] + 2 * math.pi]) - ordered
    widest = float(gaps.max())
    start = float(ordered[int(gaps.argmax())]) + widest  # where the photos begin again
    if widest < _ALL_AROUND:
        return [start + 2 * math.pi * i / frames for i in range(frames)]
    half = (2 * math.pi - widest) / 2
    return [start + half * (1 - math.cos(2 * math.pi * i / frames)) for i in range(frames)]


def _looking_back(back: Tensor, target: Tensor) -> Tensor:
    """Pose [3, 4] of a camera at ``target + back`` that looks at ``target``, z up."""
    z = torch.nn.functional.normalize(back, dim=0)
    x = torch.stack([-z[1], z[0], torch.zeros(())])
    x = torch.nn.functional.normalize(x, dim=0)
    return torch.stack([x, torch.linalg.cross(z, x), z, target + back], dim=1)
