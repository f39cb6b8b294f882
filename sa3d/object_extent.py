"""Where an object can be: the extent of what one view lifted, and how far it reaches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sa3d.scene import PreparedView

ROBUST = 0.02
"""Share of the points left out at either end of each axis."""
NEAR = 3.0
"""Points further from the median point than this many median distances are something else: what
shows through a mug's handle belongs to the mask, and lies far behind."""


@dataclass(frozen=True)
class Extent:
    """An axis-aligned box; ``low`` and ``high`` are [3], world units."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, points: Tensor) -> Extent:
        """The robust extent of points [N, 3], of which the smaller part may be elsewhere."""
        distance = (points - points.median(dim=0).values).norm(dim=-1)
        points = points[distance <= NEAR * distance.median()]
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
        return ((points >= self.low.to(points)) & (points <= self.high.to(points))).all(dim=-1)


def inner_surface(view: PreparedView, mask: Tensor) -> Tensor:
    """Surface points [n, 3] under a mask [R] bool, less its border: that sees beyond."""
    shape = (1, view.camera.height, view.camera.width)
    outside = (~mask).reshape(shape).float()
    inner = torch.nn.functional.max_pool2d(outside, 3, 1, 1).reshape(-1) < 0.5
    return view.points_world.reshape(-1, 3)[inner if inner.any() else mask]
