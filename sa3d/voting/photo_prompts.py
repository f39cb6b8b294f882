"""Prompts from a free camera, moved to the photo that shows the place best.

A viewer's camera can be anywhere, but segmenters work on photos: photos are sharper than renders,
their operators are prepared, and their names can be written into a prompts file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.geometry.camera import Camera
from sa3d.scene.scene import Scene
from sa3d.scene.view_operator import unproject
from sa3d.segmenters.answer_check import ask
from sa3d.segmenters.protocol import PromptableSegmenter

_SEEN = 0.04
"""A photo shows a point if its depth there is the point's distance, up to this share of it."""
_EDGE = 0.02
"""Border of a photo, as a share of its size; it is used only if no other photo shows a point."""
_STAY = 0.3
"""A photo that was used before is used again unless another one is better by this."""
_SAME_PLACE = 0.03
"""Cameras nearer to each other than this share of the distance to the surface see the same."""
_SIDE = 160
"""Pixels along the longer side of the render in which a box in a free view is segmented."""


@dataclass(frozen=True)
class PhotoPoint:
    """Surface point [3] (world), and the pixel ``xy_px`` that shows it in view ``view``."""

    view: int
    xy_px: tuple[float, float]
    point_world: Tensor


@dataclass(frozen=True)
class PhotoBox:
    """Box (x0, y0, x1, y1) in view ``view``, and the surface point [3] (world) in its middle."""

    view: int
    box_px: tuple[float, float, float, float]
    point_world: Tensor


def surface_point(scene: Scene, camera: Camera, xy_px: tuple[float, float]) -> Tensor:
    """Return the surface point [3] (world) seen in a pixel of any camera.

    Raises:
        SA3DError: the field shows nothing solid there.
    """
    rays = camera.pixel_rays(torch.tensor([xy_px]))
    seen = scene.field.render(rays)
    if float(seen.accumulation[0]) < 0.5:
        raise SA3DError("nothing solid is visible there: click on a surface")
    return unproject(rays, seen.depth.cpu())[0]


def photo_point(
    scene: Scene, camera: Camera, point_world: Tensor, used: Sequence[int] = ()
) -> PhotoPoint:
    """Move a surface point [3] (world) to the photo whose view of it is most like ``camera``'s.

    Args:
        scene: the prepared scene.
        camera: the free camera.
        point_world: the point.
        used: views that were prompted before; one of them is used again unless another is clearly
            better, so that points that belong together are in one photo.

    Raises:
        SA3DError: no photo shows the point.
    """
    costs = {}
    for index, view in enumerate(scene.views):
        seen, inner = _projected(scene, index, point_world[None])
        if seen[0]:
            costs[index] = _difference(camera, view.camera, point_world) + 2.0 * (not inner[0])
    if not costs:
        raise SA3DError("no photo shows this place: click on something the photos have seen")
    best = min(costs, key=lambda index: costs[index])
    before = [index for index in used if costs.get(index, torch.inf) <= costs[best] + _STAY]
    index = min(before, key=lambda one: costs[one], default=best)
    return PhotoPoint(index, _pixel(scene, index, point_world), point_world)


def photo_box(
    scene: Scene,
    camera: Camera,
    box_px: tuple[float, float, float, float],
    segmenter: PromptableSegmenter,
    used: Sequence[int] = (),
) -> PhotoBox:
    """Move a box in any camera's image to a photo.

    If a photo was taken from the same place, the box's corners are moved to that photo. Seen from
    elsewhere, the box would mark another part of space. So otherwise the object in the box is
    segmented in a small render, and the box of its surface is returned, in the photo that shows
    most of the surface.

    Raises:
        SA3DError: nothing solid is in the box, or no photo shows it.
    """
    x0, y0, x1, y1 = box_px
    middle = surface_point(scene, camera, ((x0 + x1) / 2, (y0 + y1) / 2))
    distance = float((middle - camera.position).norm())
    near = [
        index
        for index, view in enumerate(scene.views)
        if float((view.camera.position - camera.position).norm()) < _SAME_PLACE * distance
        and bool(_projected(scene, index, middle[None])[0][0])
    ]
    if near:
        index = max(near, key=lambda i: float(scene.views[i].camera.forward @ camera.forward))
        corners = camera.pixel_rays(torch.tensor([(x, y) for x in (x0, x1) for y in (y0, y1)]))
        points = unproject(corners, torch.full((4,), distance))
        return PhotoBox(index, _box_around(scene, index, points), middle)
    points = _object_in(scene, camera, box_px, segmenter)
    index = photo_point(scene, camera, points.median(dim=0).values, used).view
    seen = points[_projected(scene, index, points)[0]]
    if len(seen) < 4:
        raise SA3DError("no photo shows what is in the box: look from nearer to a photo's place")
    return PhotoBox(index, _box_around(scene, index, seen), points.median(dim=0).values)


def _object_in(
    scene: Scene,
    camera: Camera,
    box_px: tuple[float, float, float, float],
    segmenter: PromptableSegmenter,
) -> Tensor:
    """Return surface points [N, 3] of the object in a box, segmented in a render around the box."""
    x0, y0, x1, y1 = box_px
    margin = 0.3 * max(x1 - x0, y1 - y0)
    left, top = x0 - margin, y0 - margin
    width, height = x1 + margin - left, y1 + margin - top
    step = max(width, height) / _SIDE
    columns = left + step * (torch.arange(round(width / step)) + 0.5) - 0.5
    rows = top + step * (torch.arange(round(height / step)) + 0.5) - 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    rays = camera.pixel_rays(torch.stack([x.reshape(-1), y.reshape(-1)], dim=-1))
    seen = scene.field.render(rays)
    image = (seen.rgb.cpu().clamp(0, 1) * 255).byte().reshape(*x.shape, 3).numpy()
    segmenter.set_image(image)
    box = np.array([x0 - left, y0 - top, x1 - left, y1 - top], dtype=np.float32) / step
    found = ask(segmenter, box=box).masks[0].reshape(-1)
    solid = torch.from_numpy(found) & (seen.accumulation.cpu() > 0.5)
    if int(solid.sum()) < 4:
        raise SA3DError("nothing solid is in the box: drag it around an object")
    return unproject(rays, seen.depth.cpu())[solid]


def _projected(scene: Scene, index: int, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return which points [N, 3] a photo shows, [N], and which lie inside its border, [N]."""
    prepared, camera = scene.prepared(index), scene.views[index].camera
    xy, z = camera.project(points)
    size = torch.tensor([camera.width, camera.height])
    share = xy / size
    inside = (z > 0) & ((share >= 0) & (share < 1)).all(dim=-1)
    inner = ((share > _EDGE) & (share < 1 - _EDGE)).all(dim=-1)
    depth = prepared.render.depth.reshape(prepared.camera.height, prepared.camera.width)
    small = torch.tensor([prepared.camera.width, prepared.camera.height])
    column, row = (share * small).long().clamp(torch.zeros(2).long(), small - 1).unbind(dim=-1)
    distance = (points - camera.position).norm(dim=-1)
    seen = (depth[row, column] - distance).abs() < _SEEN * distance
    return inside & seen, inner


def _difference(one: Camera, other: Camera, point: Tensor) -> float:
    """Return how differently two cameras see a point, by their angle and their distances."""
    a, b = one.position - point, other.position - point
    angle = torch.arccos(torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1))
    return float(angle + 0.5 * (a.norm() / b.norm()).log().abs())


def _pixel(scene: Scene, index: int, point: Tensor) -> tuple[float, float]:
    camera = scene.views[index].camera
    x, y = camera.project(point[None])[0][0].floor().tolist()
    return min(max(x, 0.0), camera.width - 1.0), min(max(y, 0.0), camera.height - 1.0)


def _box_around(scene: Scene, index: int, points: Tensor) -> tuple[float, float, float, float]:
    """Return the box of points [N, 3] in a photo, inside its edges and without outliers."""
    camera = scene.views[index].camera
    xy = camera.project(points)[0] - 0.5
    limit = torch.tensor([camera.width - 1.0, camera.height - 1.0])
    share = 0.0 if len(points) <= 4 else 0.01
    low = xy.quantile(share, dim=0).round().clamp(torch.zeros(2), limit)
    high = xy.quantile(1 - share, dim=0).round().clamp(torch.zeros(2), limit)
    if not bool((low < high).all()):
        raise SA3DError("the box is too small: drag it around the whole object")
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
