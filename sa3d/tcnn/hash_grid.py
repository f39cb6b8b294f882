"""The multiresolution hash grid encoding of instant-ngp, as tiny-cuda-nn computes it.

It differs from Nerfstudio's own hash grid: positions are shifted by half a cell, coarse levels have
one entry for each corner, and each level has a size of its own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sa3d.tcnn import fused_grid
from sa3d.tcnn.level_sizes import GridLevel, HashGridConfig, possible_levels
from sa3d.tcnn.parameter_vector import ParameterVector

_PRIMES = (1, 2654435761, 805459861)
"""Factors of the hash."""
_UINT32 = 0xFFFFFFFF
"""Mask of 32 bits."""
_SHIFT = 0.5
"""Cells that coordinates are shifted by."""
FIRST_ENTRIES = 1e-4
"""Entries of a new grid are uniform between minus and plus this, as tiny-cuda-nn's."""


def hash_grid(
    points: Tensor, params: Tensor, levels: tuple[GridLevel, ...], features: int, smooth: bool
) -> Tensor:
    """Encode points by a hash grid.

    Each level interpolates the entries at the eight corners of the cell that a point is in. Values
    outside of [0, 1] are not clamped: corners beyond the last one share entries with others.

    Args:
        points: [N, 3], float32, in [0, 1].
        params: entries of all levels, level after level, the features of an entry side by side.
        levels: sizes of the levels.
        features: number F of features of an entry.
        smooth: True to smooth the weights by ``w^2 (3 - 2 w)``.

    Returns:
        [N, L * F], level after level; differentiable in ``points`` and ``params``.

    Source: ``kernel_grid`` in tiny-cuda-nn's ``encodings/grid.h``.
    """
    table = params.reshape(-1, features)
    if fused_grid.is_possible(points, table):
        return fused_grid.interpolate(points, table, _sizes(levels, smooth))
    encoded = []
    for level in levels:
        entries = table[level.offset : level.offset + level.entries]
        corners, weights = level_corners(points, level, smooth)
        encoded.append(F.embedding_bag(corners, entries, mode="sum", per_sample_weights=weights))
    return torch.cat(encoded, dim=-1)


@lru_cache
def _sizes(levels: tuple[GridLevel, ...], smooth: bool) -> fused_grid.GridSizes:
    return fused_grid.GridSizes(
        scale=np.array([level.scale for level in levels]),
        shift=_SHIFT,
        resolution=np.array([level.resolution for level in levels]),
        offset=np.array([level.offset for level in levels]),
        entries=np.array([level.entries for level in levels]),
        dense=np.array([level.dense for level in levels]),
        smooth=smooth,
    )


def level_corners(points: Tensor, level: GridLevel, smooth: bool = False) -> tuple[Tensor, Tensor]:
    """Return the entries at the corners of the cells that points are in, and their weights.

    Bit d of a corner's number 0 to 7 says if it is the upper one along axis d.

    Args:
        points: [N, 3], float32.
        level: of the grid.
        smooth: see ``hash_grid``.

    Returns:
        Numbers of entries within the level, int64 [N, 8], and weights [N, 8] that add up to 1.
    """
    # The GPU rounds once, after the addition; the product of two float32 is exact in float64.
    position = (points.double() * level.scale + _SHIFT).to(points.dtype)
    cell = position.floor()
    upper = position - cell
    if smooth:
        upper = upper * upper * (3 - 2 * upper)
    x, y, z = torch.stack([1 - upper, upper], dim=-1).unbind(dim=1)  # [N, 2] each
    weights = (x[:, None, None, :] * y[:, None, :, None] * z[:, :, None, None]).flatten(1)
    first = cell.detach().to(torch.int64)
    return _entries(torch.stack([first, first + 1], dim=-1), level), weights


def _entries(corners: Tensor, level: GridLevel) -> Tensor:
    """Return the entries [N, 8] of lower and upper corners [N, 3, 2], with uint32 arithmetic."""
    dense = level.dense
    factors = (1, level.resolution, level.resolution**2) if dense else _PRIMES
    factors = torch.tensor(factors, device=corners.device)[:, None]
    x, y, z = (corners * factors & _UINT32).unbind(dim=1)
    x, y, z = x[:, None, None, :], y[:, None, :, None], z[:, :, None, None]
    number = (x + y + z) & _UINT32 if dense else x ^ y ^ z
    return (number % level.entries).flatten(1)


class HashGrid(ParameterVector[tuple[GridLevel, ...]]):
    """The hash grid encoding as a module.

    Args:
        config: options.
    """

    def __init__(self, config: HashGridConfig) -> None:
        super().__init__(3, config.outputs, possible_levels(config))
        self.config = config
        nn.init.uniform_(self.params, -FIRST_ENTRIES, FIRST_ENTRIES)

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Return the encoded points; see ``hash_grid``."""
        return hash_grid(inputs, self.params, self.sizes, self.config.features, self.config.smooth)
