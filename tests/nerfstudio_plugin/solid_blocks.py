"""Objects of known shape, as the models cut with them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nerfstudio_plugin.display.object_blocks import Block
from sa3d.results.object_volume import ObjectVolume
from sa3d.scene.elements import MaskGrid


def block_where(grid: MaskGrid, condition: Callable[[Tensor], Tensor]) -> Block:
    """The whole grid as one block; object where the voxel's centre [N, 3] fulfils the condition."""
    side = [grid.resolution] * 3
    cells = torch.cartesian_prod(*[torch.arange(grid.resolution)] * 3)
    unit = (cells + 0.5) / grid.resolution
    inside = condition(grid.bounds.to_world(unit)).reshape(side)
    corner = torch.zeros(3, dtype=torch.int64)
    return Block.around(ObjectVolume(grid, corner, inside.float(), torch.zeros_like(inside)))


def ball(center: tuple[float, float, float], radius: float) -> Callable[[Tensor], Tensor]:
    """Mask of the positions [..., 3] that lie in a ball."""
    return lambda x: (x - x.new_tensor(center)).norm(dim=-1) < radius
