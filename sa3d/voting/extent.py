"""Where an object can be: the extent of what one view lifted, and how far it reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.geometry.camera import Camera
from sa3d.scene.scene import PreparedView
from sa3d.surfaces.connected_surface import connected_surface

ROBUST = 0.02
"""Share of the points left out at either end of each axis."""
THICK = 0.1
"""A mask with at least this share of its pixels inside its border is not thin."""
NEAREST = 0.25
"""What is apart from the body and less than this share of its depth away is a floater."""
STEEP = 8.0
"""Neighbouring pixels of one surface lie at most this many pixel widths apart in space."""
EDGE = 0.01
"""A mask that comes this near to an edge of its photo may go on beyond it; share of the photo."""


@dataclass(frozen=True)
class Extent:
    """An axis-aligned box; ``low`` and ``high`` are [3], world units."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, points: Tensor) -> Extent:
        """The robust extent of points [N, 3]."""
        low, high = torch.quantile(points, torch.tensor([ROBUST, 1 - ROBUST]).to(points), dim=0)
        return cls(low, high)

    @property
    def size(self) -> float:
        """The longest side, world units."""
        return float((self.high - self.low).max())

    def grown(self, by: float) -> Extent:
        """The box grown on all sides, world units."""
        return Extent(self.low - by, self.high + by)

    def contains(self, points: Tensor) -> Tensor:
        """Whether points [..., 3] lie inside, bool [...]."""
        inside = torch.ones(points.shape[:-1], dtype=torch.bool, device=points.device)
        for values, low, high in zip(points.unbind(-1), self.low, self.high, strict=True):
            inside &= (values >= low.to(values)) & (values <= high.to(values))
        return inside


def object_surface(view: PreparedView, mask: Tensor) -> Tensor:
    """Surface points [n, 3] of the object under a mask [R] bool.

    Less the mask's border, which sees beyond, less what shows through holes that the mask
    overlooks, such as a mug's handle, and less floaters: these lie apart from the greater part of
    the surface, behind it or far before it.
    """
    claimed = mask.reshape(view.camera.height, view.camera.width)
    outside = torch.nn.functional.max_pool2d((~claimed)[None].float(), 3, 1, 1)[0]
    inner = outside < 0.5
    if int(inner.sum()) < THICK * int(claimed.sum()):
        inner = claimed  # a thin thing is all border
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
    """Whether points lie beyond an edge of a photo that an object's mask does not reach.

    An object in one piece does not go on there. Nor does it behind the camera.

    Args:
        mask: [H, W] bool, at the photo's size; an empty one tells nothing.
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
