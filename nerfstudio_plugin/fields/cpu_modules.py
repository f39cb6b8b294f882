"""Nerfstudio's modules on a CPU: the same values, to the last bit, in a fraction of the time."""

from __future__ import annotations

import math

import numpy as np
import torch
from nerfstudio.field_components.encodings import HashEncoding
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.utils.math import Gaussians
from torch import Tensor, nn

from sa3d.tcnn.fused_grid import GridSizes, interpolate, is_possible


def speed_up(model: nn.Module) -> None:
    """Replace how a model's hash grids and scene contractions are computed on a CPU.

    Where gradients are wanted, or on a GPU, Nerfstudio's own code is used as before.
    """
    for module in model.modules():
        if isinstance(module, HashEncoding) and module.tcnn_encoding is None:
            module.pytorch_fwd = _FusedGrid(module)
        if isinstance(module, SceneContraction) and module.order == math.inf:
            module.forward = _Contraction(module)


class _FusedGrid:
    def __init__(self, grid: HashEncoding) -> None:
        entries = np.full(grid.num_levels, grid.hash_table_size)
        self._grid = grid
        self._sizes = GridSizes(
            scale=grid.scalings.double().numpy(),
            shift=0.0,
            resolution=entries,  # of dense levels, which it has none of
            offset=grid.hash_offset.numpy(),
            entries=entries,
            dense=np.zeros(grid.num_levels, bool),
        )

    def __call__(self, in_tensor: Tensor) -> Tensor:
        """Return the encoding [..., L * F] of points [..., 3] in [0, 1]."""
        grid = self._grid
        if not is_possible(in_tensor, grid.hash_table):
            return HashEncoding.pytorch_fwd(grid, in_tensor)
        points = in_tensor.reshape(-1, 3)
        return interpolate(points, grid.hash_table, self._sizes).view(*in_tensor.shape[:-1], -1)


class _Contraction:
    """The contraction of mip-NeRF 360 by the infinity norm, which torch takes very slowly."""

    def __init__(self, contraction: SceneContraction) -> None:
        self._contraction = contraction

    def __call__(self, positions: Tensor | Gaussians) -> Tensor | Gaussians:
        if not isinstance(positions, Tensor) or not is_possible(positions):
            return SceneContraction.forward(self._contraction, positions)
        x, y, z = positions.abs().unbind(dim=-1)
        magnitude = torch.maximum(torch.maximum(x, y), z)[..., None]
        outside = (2 - (1 / magnitude)) * (positions / magnitude)
        return torch.where(magnitude < 1, positions, outside)
