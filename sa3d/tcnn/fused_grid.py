"""Interpolates a hash grid on a CPU, in one compiled pass over blocks of points.

In torch, each step of the interpolation reads and writes all points. Here, a block of points stays
in the cache for all steps of a level. Numba compiles it; the user needs no compiler. Nerfstudio's
own hash grid in torch is of the same form, and its values are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BLOCK = 4096
"""Points that are interpolated at one level before the next level."""
_LEAST_PER_THREAD = 4096
"""Points for which starting a thread pays."""


@dataclass(frozen=True)
class GridSizes:
    """Sizes of L levels, as arrays.

    Attributes:
        scale: [L] factors from coordinates to cells, float64.
        shift: added to the scaled coordinates.
        resolution: [L] corners along an axis, int64; used for dense levels only.
        offset: [L] number of entries of all levels before, int64.
        entries: [L] number of entries, int64; a power of 2 for levels that are not dense.
        dense: [L] True if each corner has an entry of its own; else entries are hashed.
        smooth: True to smooth the weights by ``w^2 (3 - 2 w)``.
    """

    scale: np.ndarray
    shift: float
    resolution: np.ndarray
    offset: np.ndarray
    entries: np.ndarray
    dense: np.ndarray
    smooth: bool = False


def is_possible(*tensors: Tensor) -> bool:
    """Return whether tensors are on the CPU, float32, and no gradient of them is wanted."""
    return not (torch.is_grad_enabled() and any(one.requires_grad for one in tensors)) and all(
        one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors
    )


def interpolate(points: Tensor, table: Tensor, sizes: GridSizes) -> Tensor:
    """Interpolate the entries at the eight corners of the cells that points are in, at each level.

    Args:
        points: [N, 3], on the CPU, float32, at least 0.
        table: [entries of all levels, F], on the CPU, float32.
        sizes: of the levels.

    Returns:
        [N, L * F], level after level.
    """
    levels, features = len(sizes.scale), table.shape[1]
    encoded = torch.empty(len(points), levels * features)
    inputs, rows = points.detach().contiguous().numpy(), table.detach().contiguous().numpy()
    outputs = encoded.numpy()
    arrays = (sizes.scale, sizes.shift, sizes.resolution, sizes.offset, sizes.entries)
    compiled = _compiled(features)

    def part(start: int, stop: int) -> None:
        compiled(inputs[start:stop], rows, *arrays, sizes.dense, sizes.smooth, outputs[start:stop])

    threads = min(torch.get_num_threads(), len(points) // _LEAST_PER_THREAD)
    if threads <= 1:
        part(0, len(points))
    else:
        ends = [len(points) * number // threads for number in range(threads + 1)]
        list(_pool(threads).map(part, ends[:-1], ends[1:]))
    return encoded


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "sa3d-grid")


@cache
def _compiled(features: int) -> Callable[..., None]:
    """Return the pass for entries of F features, compiled; from the disk if it was before."""
    import numba  # takes half a second

    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

    @numba.njit(inline="always", **options)
    def wrapped(entry: Any, count: Any) -> Any:
        return entry if entry < count else entry % count  # a division takes long, and is rare

    block, one = _BLOCK, np.float32(1)
    two, three, next_x = np.float32(2), np.float32(3), np.uint32(1)
    prime_y, prime_z = np.uint32(2654435761), np.uint32(805459861)

    def interpolated(
        points: Any,
        table: Any,
        scales: Any,
        shift: Any,
        resolutions: Any,
        offsets: Any,
        counts: Any,
        are_dense: Any,
        smooth: Any,
        out: Any,
    ) -> None:
        for start in range(0, len(points), block):
            for level in range(len(scales)):
                scale, offset, count = scales[level], offsets[level], counts[level]
                dense, mask = are_dense[level], np.uint32(count - 1)
                step_y = np.uint32(resolutions[level]) if dense else prime_y
                step_z = np.uint32(resolutions[level] ** 2) if dense else prime_z
                for i in range(start, min(len(points), start + block)):
                    # The product is exact in float64, and rounded once with the sum.
                    x = np.float32(np.float64(points[i, 0]) * scale + shift)
                    y = np.float32(np.float64(points[i, 1]) * scale + shift)
                    z = np.float32(np.float64(points[i, 2]) * scale + shift)
                    cell_x, cell_y, cell_z = np.floor(x), np.floor(y), np.floor(z)
                    x1, y1, z1 = x - cell_x, y - cell_y, z - cell_z
                    if smooth:
                        x1 = x1 * x1 * (three - two * x1)
                        y1 = y1 * y1 * (three - two * y1)
                        z1 = z1 * z1 * (three - two * z1)
                    x0, y0, z0 = one - x1, one - y1, one - z1
                    low_x = np.uint32(np.int64(cell_x))
                    low_y = np.uint32(np.uint32(np.int64(cell_y)) * step_y)
                    low_z = np.uint32(np.uint32(np.int64(cell_z)) * step_z)
                    high_x = np.uint32(low_x + next_x)
                    high_y, high_z = np.uint32(low_y + step_y), np.uint32(low_z + step_z)
                    if dense:
                        i000 = wrapped(np.int64(np.uint32(low_x + low_y + low_z)), count)
                        i100 = wrapped(np.int64(np.uint32(high_x + low_y + low_z)), count)
                        i010 = wrapped(np.int64(np.uint32(low_x + high_y + low_z)), count)
                        i110 = wrapped(np.int64(np.uint32(high_x + high_y + low_z)), count)
                        i001 = wrapped(np.int64(np.uint32(low_x + low_y + high_z)), count)
                        i101 = wrapped(np.int64(np.uint32(high_x + low_y + high_z)), count)
                        i011 = wrapped(np.int64(np.uint32(low_x + high_y + high_z)), count)
                        i111 = wrapped(np.int64(np.uint32(high_x + high_y + high_z)), count)
                    else:
                        i000 = np.int64((low_x ^ low_y ^ low_z) & mask)
                        i100 = np.int64((high_x ^ low_y ^ low_z) & mask)
                        i010 = np.int64((low_x ^ high_y ^ low_z) & mask)
                        i110 = np.int64((high_x ^ high_y ^ low_z) & mask)
                        i001 = np.int64((low_x ^ low_y ^ high_z) & mask)
                        i101 = np.int64((high_x ^ low_y ^ high_z) & mask)
                        i011 = np.int64((low_x ^ high_y ^ high_z) & mask)
                        i111 = np.int64((high_x ^ high_y ^ high_z) & mask)
                    for f in range(features):
                        # In the order of Nerfstudio's own interpolation.
                        above = (
                            table[offset + i111, f] * x1 + table[offset + i011, f] * x0
                        ) * y1 + (table[offset + i101, f] * x1 + table[offset + i001, f] * x0) * y0
                        below = (
                            table[offset + i110, f] * x1 + table[offset + i010, f] * x0
                        ) * y1 + (table[offset + i100, f] * x1 + table[offset + i000, f] * x0) * y0
                        out[i, level * features + f] = above * z1 + below * z0

    try:
        return numba.njit(cache=True, **options)(interpolated)
    except RuntimeError:  # no folder to keep the compiled pass in
        return numba.njit(**options)(interpolated)
