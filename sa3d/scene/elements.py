"""The mask grid and its elements: the voxels in which rays have rendering weights.

The grid divides the field's unit cube (boxed or contracted). Only voxels in which some ray of some
view has weight become elements, so memory grows with the visible surface and not with the cube of
the resolution. A voxel is named by its key, one integer.
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
    """A regular grid of ``resolution ** 3`` voxels over the unit cube of ``bounds``.

    Attributes:
        bounds: the map from the world frame to the unit cube.
        resolution: voxels along each side.
    """

    bounds: Bounds
    resolution: int = 256

    def keys(self, positions_world: Tensor) -> Tensor:
        """Return the voxel keys, int64 [...], of positions [..., 3] in the world frame.

        The key of a position outside the grid is ``OUTSIDE``.
        """
        cell = torch.floor(self.bounds.to_unit(positions_world) * self.resolution).long()
        inside = ((cell >= 0) & (cell < self.resolution)).all(dim=-1)
        key = (cell[..., 0] * self.resolution + cell[..., 1]) * self.resolution + cell[..., 2]
        return torch.where(inside, key, OUTSIDE)

    def cells(self, keys: Tensor) -> Tensor:
        """Return the voxel indices (x, y, z), int64 [N, 3], of keys [N]."""
        plane = self.resolution * self.resolution
        return torch.stack(
            [keys // plane, keys // self.resolution % self.resolution, keys % self.resolution], -1
        )

    def centers_world(self, keys: Tensor) -> Tensor:
        """Return the centres of voxels, [N, 3] in the world frame, by keys [N]."""
        unit = (self.cells(keys).to(torch.float32) + 0.5) / self.resolution
        return self.bounds.to_world(unit)


@dataclass(frozen=True)
class Elements:
    """The N elements of a scene: the columns of every view operator.

    Attributes:
        grid: the mask grid.
        keys: int64 [N], voxel keys in ascending order.
    """

    grid: MaskGrid
    keys: Tensor

    def __len__(self) -> int:
        return self.keys.shape[0]

    def find(self, keys: Tensor) -> Tensor:
        """Return the element index, int64 [...], of voxel keys [...]; -1 where there is none."""
        if len(self) == 0:
            return torch.full_like(keys, -1)
        slot = torch.searchsorted(self.keys, keys).clamp_max(len(self) - 1)
        return torch.where(self.keys[slot] == keys, slot, -1)

    def lookup(self, values: Tensor, positions_world: Tensor, missing: float = 0.0) -> Tensor:
        """Return the elements' values at positions.

        Args:
            values: [N] or [N, K], one for each element.
            positions_world: [..., 3] world frame.
            missing: the value where there is no element.

        Returns:
            [...] or [..., K].
        """
        slot = self.find(self.grid.keys(positions_world))
        if len(self) == 0:
            return values.new_full((*slot.shape, *values.shape[1:]), missing)
        found = values[slot.clamp_min(0)]
        known = slot >= 0
        return torch.where(known[..., None] if values.ndim > 1 else known, found, missing)

    @cached_property
    def positions_world(self) -> Tensor:
        """Centres of the elements, [N, 3], world frame."""
        return self.grid.centers_world(self.keys)
