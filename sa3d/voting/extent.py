"""Extent of an object: the box around its lifted surface, and space that cannot be object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.geometry.camera import Camera
from sa3d.scene.scene import PreparedView
from sa3d.surfaces.connected_surface import connected_surface

ROBUST = 0.02
"""Share of the points that is left out at both ends of each axis."""
THICK = 0.1
"""A mask with a smaller share of its pixels inside its border is thin."""
NEAREST = 0.25
"""Parts not connected with the body, at less than this share of its depth, are floaters."""
STEEP = 8.0
"""Largest distance of neighbouring pixels of one surface, in pixel widths at its depth."""
EDGE = 0.01
"""A mask this near to an edge of its photo may continue beyond it; share of the photo's size."""


@dataclass(frozen=True)
class Extent:
    """Axis-aligned box; ``low`` and ``high`` are [3], in world units."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, points: Tensor) -> Extent:
        """Return the extent of points [N, 3], without outliers."""
        low, high = torch.quantile(points, torch.tensor([ROBUST, 1 - ROBUST]).to(points), dim=0)
        return cls(low, high)

    @property
    def size(self) -> float:
        """Longest side, in world units."""
        return float((self.high - self.low).max())

    def grown(self, by: float) -> Extent:
        """Return the box grown on all sides by ``by`` world units."""
        return Extent(self.low - by, self.high + by)

    def contains(self, points: Tensor) -> Tensor:
        """Return which points [..., 3] lie inside, bool [...]."""
        inside = torch.ones(points.shape[:-1], dtype=torch.bool, device=points.device)
        for values, low, high in zip(points.unbind(-1), self.low, self.high, strict=True):
            inside &= (values >= low.to(values)) & (values <= high.to(values))
        return inside


def object_surface(view: PreparedView, mask: Tensor) -> Tensor:
    """Return surface points [n, 3] of the object under a mask [R] bool.

    Three kinds of points are left out: those of the mask's border, which also sees the background;
    those behind the object, seen through holes such as a mug's handle; and floaters. The last two
    kinds are not connected with the greater part of the surface, and lie behind that part or far in
    front of it.
    """
    claimed = mask.reshape(view.camera.height, view.camera.width)
    outside = torch.nn.functional.max_pool2d((~claimed)[None].float(), 3, 1, 1)[0]
    inner = outside < 0.5
    if int(inner.sum()) < THICK * int(claimed.sum()):
        inner = claimed  # a thin object is all border
    middle = view.points_world[inner].median(dim=0).values
    distance = (view.points_world - middle).norm(dim=-1).masked_fill(~inner, torch.inf)
    seed = torch.zeros_like(claimed)
    seed.view(-1)[distance.argmin()] = True
    pixel = float(view.render.depth[claimed].median()) / view.camera.fx
    body = connected_surface(claimed, seed, view.points_world, STEEP * pixel)
    if 2 * int(body.sum()) > int(claimed.sum()) and bool((inner & body).any()):
        share = view.render.depth / view.render.depth[body].median()
        inner = inner & (body | ((share > NEAREST) & (share < 1)))
    return view.points_world[inner]


def beyond_clear_edges(camera: Camera, mask: np.ndarray, points_world: Tensor) -> Tensor:
    """Return which points lie beyond an edge of a photo that an object's mask does not reach.

    An object in one piece does not continue there, nor behind the camera.

    Args:
        camera: of the photo.
        mask: [H, W] bool, at the photo's size; an empty mask excludes no point.
        points_world: [N, 3].

    Returns:
        [N] bool.
    """
    if not mask.any():
        return torch.zeros(len(points_world), dtype=torch.bool, device=points_world.device)
    xy, z = camera.project(points_world)
    beyond = z <= 0
    for axis, size in enumerate((camera.width, camera.height)):
        reached = np.flatnonzero(mask.any(axis=axis))
        margin = EDGE * size
        if reached[0] >= margin:
            beyond |= xy[:, axis] < 0
        if reached[-1] < size - margin:
            beyond |= xy[:, axis] >= size
    return beyond
