"""Which rays can meet an object: axis-aligned boxes in world space, and the slab test."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from sa3d.results.object_volume import ObjectVolume

_MOST_BOXES = 512
"""Testing a ray against more takes longer than rendering it."""
_MARGIN = 1
"""Voxels around an object within which its interpolated share may still count."""


@dataclass(frozen=True)
class Boxes:
    """Axis-aligned boxes; ``low`` and ``high`` are [B, 3], world."""

    low: Tensor
    high: Tensor

    def meet(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Whether rays [R, 3] pass through a box in front of their origin, bool [R]."""
        near = torch.zeros_like(origins[:, 0], dtype=torch.bool)
        if len(self.low):  # most rays miss the box around all boxes
            near = _meet_any(self.low.amin(0), self.high.amax(0), origins, directions)
            near[near.clone()] = _meet_any(self.low, self.high, origins[near], directions[near])
        return near

    def span(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Where rays [R, 3] enter the first box and leave the last, [R] each; inf, -inf if none."""
        enter, leave = _slabs(self.low, self.high, origins, directions)
        hit = (leave >= enter) & (leave >= 0)
        first = torch.where(hit, enter, torch.inf).amin(dim=-1)
        return first, torch.where(hit, leave, -torch.inf).amax(dim=-1)


def _meet_any(low: Tensor, high: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
    enter, leave = _slabs(low, high, origins, directions)
    return ((leave >= enter) & (leave >= 0)).any(dim=-1)


def _slabs(low: Tensor, high: Tensor, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays [R] enter and leave boxes [B], distances [R, B] each; entering last for a miss."""
    safe = torch.where(directions.abs() < 1e-9, 1e-9, directions)[:, None]
    first = (low - origins[:, None]) / safe
    second = (high - origins[:, None]) / safe
    return torch.minimum(first, second).amax(dim=-1), torch.maximum(first, second).amin(dim=-1)


def boxes_of(volume: ObjectVolume, cut: float = 0.5) -> Boxes:
    """Boxes around everything in a volume with a share above the cut, each a cube of voxels."""
    coarse, side = torch.nonzero(volume.share > cut), 1
    while len(coarse) > _MOST_BOXES:
        coarse, side = torch.unique(coarse // 2, dim=0), side * 2
    low = coarse * side + volume.corner - _MARGIN
    high = low + side + 2 * _MARGIN
    corners = torch.stack(
        [torch.where(torch.tensor(upper).to(low.device), high, low) for upper in _CORNERS]
    )
    unit = (corners.to(torch.float32) / volume.grid.resolution).clamp(0, 1)
    world = volume.grid.bounds.to_world(unit)  # [8, B, 3]; extreme at corners, contracted or not
    return Boxes(world.amin(dim=0), world.amax(dim=0))


_CORNERS = tuple(product((False, True), repeat=3))
