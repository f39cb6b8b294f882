"""Where an object can be: the extent of what one view lifted, and how far it reaches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sa3d.scene import PreparedView

CORE = 0.1
"""Share of the points at either end of each axis that may be something else: what shows through a
mug's handle belongs to the mask, and lies far behind."""
ROBUST = 0.02
"""Share of the points left out at either end of each axis, of those near the core."""


@dataclass(frozen=True)
class Extent:
    """An axis-aligned box; ``low`` and ``high`` are [3], world units."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, points: Tensor) -> Extent:
        """The robust extent of points [N, 3]: of those within one core size around the core."""
        core = cls._between(points, CORE)
        return cls._between(points[core.grown(core.size).contains(points)], ROBUST)

    @classmethod
    def _between(cls, points: Tensor, share: float) -> Extent:
        low, high = torch.quantile(points, torch.tensor([share, 1 - share]).to(points), dim=0)
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
