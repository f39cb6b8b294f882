"""Flood fill over the pixels of a view, stopped by depth steps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def connected_surface(mask: Tensor, seeds: Tensor, points_world: Tensor, max_gap: float) -> Tensor:
    """Return the part of a mask that is connected with a seed on the surface.

    Two neighbouring pixels are connected if their surface points are near each other. So two things
    are not connected if one is in front of the other and they touch only in the image.

    Args:
        mask: [h, w] bool.
        seeds: [h, w] bool; seeds outside the mask are ignored.
        points_world: [h, w, 3], the surface point seen in each pixel.
        max_gap: neighbouring pixels whose points are this far apart or more (world units) are not
            connected.

    Returns:
        [h, w] bool.
    """
    connected = torch.zeros_like(mask)
    y, x = torch.nonzero(mask, as_tuple=True)
    if len(y):
        box = slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1)
        connected[box] = _filled(mask[box], seeds[box], points_world[box], max_gap).to(mask.device)
    return connected


def _filled(mask: Tensor, seeds: Tensor, points_world: Tensor, max_gap: float) -> Tensor:
    """Fill the mask from the seeds; [h, w] bool, on the CPU."""
    from scipy.ndimage import binary_propagation

    # The lattice has a node for each pixel, and a node for each link between two neighbours.
    # At operator resolution, this takes half the time of ``csgraph.connected_components``.
    height, width = mask.shape
    open_ = np.zeros((2 * height - 1, 2 * width - 1), dtype=bool)
    start = open_.copy()
    start[::2, ::2] = (mask & seeds).cpu()
    open_[::2, ::2] = mask.cpu()
    across = _near(points_world[:, 1:], points_world[:, :-1], max_gap)
    down = _near(points_world[1:], points_world[:-1], max_gap)
    open_[::2, 1::2] = (mask[:, 1:] & mask[:, :-1] & across).cpu()
    open_[1::2, ::2] = (mask[1:] & mask[:-1] & down).cpu()
    filled = np.asarray(binary_propagation(start, mask=open_))
    return torch.from_numpy(filled[::2, ::2].copy())


def _near(one: Tensor, other: Tensor, max_gap: float) -> Tensor:
    return (one - other).norm(dim=-1) < max_gap
