"""The mask grid: which elements of space light touches, found by voxel key.

The grid lives in the field's own unit cube (boxed or contracted). Only voxels that some ray's light
reached become *elements*, so memory grows with visible surface and not with resolution cubed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sa3d.geometry.bounds import Bounds

OUTSIDE = -1
"""Key of positions outside the grid."""


@dataclass(frozen=True)
class MaskGrid:
    """A regular grid of ``resolution``^3 voxels over the unit cube of ``bounds``."""

    bounds: Bounds
    resolution: int = 256

    def keys(self, positions_world: Tensor) -> Tensor:
        """Voxel key, int64 [...], of positions [..., 3]; ``OUTSIDE`` beyond the grid."""
        cell = torch.floor(self.bounds.to_unit(positions_world) * self.resolution).long()
        inside = ((cell >= 0) & (cell < self.resolution)).all(dim=-1)
        key = (cell[..., 0] * self.resolution + cell[..., 1]) * self.resolution + cell[..., 2]
        return torch.where(inside, key, OUTSIDE)

    def cells(self, keys: Tensor) -> Tensor:
        """Voxel indices (x, y, z), int64 [N, 3], of keys [N]."""
        plane = self.resolution * self.resolution
        return torch.stack(
            [keys // plane, keys // self.resolution % self.resolution, keys % self.resolution], -1
        )

    def centers_world(self, keys: Tensor) -> Tensor:
        """Voxel centres [N, 3], world."""
        unit = (self.cells(keys).to(torch.float32) + 0.5) / self.resolution
        return self.bounds.to_world(unit)


@dataclass(frozen=True)
class Elements:
    """The N voxels that carry light, in ascending order of key: the columns of every operator."""

    grid: MaskGrid
    keys: Tensor

    def __len__(self) -> int:
        return self.keys.shape[0]

    def find(self, keys: Tensor) -> Tensor:
        """Element index [...] of voxel keys [...], -1 where the voxel is no element."""
        if len(self) == 0:
            return torch.full_like(keys, -1)
        slot = torch.searchsorted(self.keys, keys).clamp_max(len(self) - 1)
        return torch.where(self.keys[slot] == keys, slot, -1)

    def lookup(self, values: Tensor, positions_world: Tensor, missing: float = 0.0) -> Tensor:
        """Values [N] or [N, K] at positions [..., 3]; ``missing`` where there is no element."""
        slot = self.find(self.grid.keys(positions_world))
        if len(self) == 0:
            return values.new_full((*slot.shape, *values.shape[1:]), missing)
        found = values[slot.clamp_min(0)]
        known = slot >= 0
        return torch.where(known[..., None] if values.ndim > 1 else known, found, missing)

    @cached_property
    def positions_world(self) -> Tensor:
        """Element centres [N, 3], world."""
        return self.grid.centers_world(self.keys)
