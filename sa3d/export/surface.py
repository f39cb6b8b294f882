"""Points on the surface of an object: pixels of its masks, lifted by the rendered depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_mask
from sa3d.results.object_volume import ObjectVolume
from sa3d.scene.scene import Scene


@dataclass(frozen=True)
class SurfacePoints:
    """N surface points in the world frame, on the CPU.

    Attributes:
        positions: float32 [N, 3].
        colors: float32 [N, 3], RGB of the photos in [0, 1].
        to_camera: float32 [N, 3], unit vectors towards the camera that saw the point.
    """

    positions: Tensor
    colors: Tensor
    to_camera: Tensor

    def __len__(self) -> int:
        return len(self.positions)


def surface_points(
    scene: Scene, segmentation: Segmentation, name: str, volume: ObjectVolume
) -> SurfacePoints:
    """Return the points that all views see of an object, one for each pixel of its masks.

    A point counts only if it is in the object's volume, too, since at the edge of a mask the depth
    may be that of the background.

    Raises:
        SA3DError: no view sees the object.
    """
    parts = [
        _view_points(scene, segmentation, name, volume, index) for index in range(len(scene.views))
    ]
    points = SurfacePoints(*(torch.cat(column) for column in zip(*parts, strict=True)))
    if len(points) == 0:
        raise SA3DError(f"no view sees the surface of object {name!r}: add prompts to it")
    return points


def merge_points(points: SurfacePoints, keys: Tensor) -> SurfacePoints:
    """Replace all points of the same key [N] by their mean."""
    _, group, count = torch.unique(keys, return_inverse=True, return_counts=True)

    def mean(values: Tensor) -> Tensor:
        sums = values.new_zeros((len(count), 3)).index_add_(0, group, values)
        return sums / count[:, None]

    direction = torch.nn.functional.normalize(mean(points.to_camera), dim=-1)
    return SurfacePoints(mean(points.positions), mean(points.colors), direction)


def _view_points(
    scene: Scene, segmentation: Segmentation, name: str, volume: ObjectVolume, index: int
) -> tuple[Tensor, Tensor, Tensor]:
    prepared = scene.prepared(index)
    camera = prepared.camera
    mask, _ = final_mask(scene, segmentation, name, index)
    inside = _shrunk(mask[..., None], camera.height, camera.width)[..., 0] > 0.5
    inside &= prepared.render.accumulation > 0.5
    points = prepared.points_world[inside]
    kept = volume.share_at(points).cpu() > 0.5
    points = points[kept]
    if len(points) == 0:
        return points, points, points
    colors = _shrunk(scene.views[index].image(), camera.height, camera.width) / 255
    to_camera = torch.nn.functional.normalize(camera.position.cpu() - points, dim=-1)
    return points, colors[inside][kept], to_camera


def _shrunk(pixels: np.ndarray, height: int, width: int) -> Tensor:
    """Average an image [H, W, C] down to [height, width, C], float32."""
    planes = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
    small = torch.nn.functional.interpolate(planes, (height, width), mode="area")
    return small[0].permute(1, 2, 0)
