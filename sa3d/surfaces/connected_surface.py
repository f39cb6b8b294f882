"""Flood fill over a view's pixels that stops at steps in depth."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def connected_surface(mask: Tensor, seeds: Tensor, points_world: Tensor, max_gap: float) -> Tensor:
    """Return the part of a mask that is connected with the seeds along the surface.

    Pixels are connected with their four neighbours in the mask if the surface points seen in both
    are near. An object in front of another touches it in the image only, and is not connected.

    Args:
        mask: [h, w] bool.
        seeds: [h, w] bool; seeds outside the mask are ignored.
        points_world: [h, w, 3] the surface point seen in each pixel, world frame.
        max_gap: neighbouring pixels further apart than this (world units) are not connected.

    Returns:
        [h, w] bool.
    """
    connected = torch.zeros_like(mask)
    y, x = torch.nonzero(mask, as_tuple=True)
    if len(y):
        room = slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1)
        inside = mask[room]
        component = _components(inside, points_world[room], max_gap).to(mask.device)
        seeded = component[inside & seeds[room]].unique()
        connected[room] = inside & torch.isin(component, seeded)
    return connected


def _components(mask: Tensor, points_world: Tensor, max_gap: float) -> Tensor:
    """Number the connected parts of a mask [h, w]: int32 [h, w], on the CPU."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    across = mask[:, 1:] & mask[:, :-1] & _near(points_world[:, 1:], points_world[:, :-1], max_gap)
    down = mask[1:] & mask[:-1] & _near(points_world[1:], points_world[:-1], max_gap)
    pixel = np.arange(mask.numel()).reshape(mask.shape)
    right, below = across.cpu().numpy(), down.cpu().numpy()
    rows = np.concatenate([pixel[:, :-1][right], pixel[:-1][below]])
    columns = np.concatenate([pixel[:, 1:][right], pixel[1:][below]])
    graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(pixel.size,) * 2)
    component = connected_components(graph, directed=False)[1]
    return torch.from_numpy(component).reshape(mask.shape)


def _near(one: Tensor, other: Tensor, max_gap: float) -> Tensor:
    return (one - other).norm(dim=-1) < max_gap
