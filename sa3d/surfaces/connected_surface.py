"""Flood fill over a view's pixels that stops where the surface does."""

from __future__ import annotations

import torch
from torch import Tensor


def connected_surface(mask: Tensor, seeds: Tensor, points_world: Tensor, max_gap: float) -> Tensor:
    """Flood fill from seeds through neighbouring pixels of a mask whose surface points are near.

    Things that touch in the picture only, one before the other, are not connected.

    Args:
        mask: [h, w] bool.
        seeds: [h, w] bool; seeds outside the mask are ignored.
        points_world: [h, w, 3] the surface seen in each pixel.
        max_gap: neighbouring pixels further apart than this (world units) are not connected.

    Returns:
        [h, w] bool, the part of the mask that is connected with a seed.
    """
    connected = torch.zeros_like(mask)
    y, x = torch.nonzero(mask, as_tuple=True)
    if len(y):
        room = slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1)
        connected[room] = _filled(mask[room], seeds[room], points_world[room], max_gap)
    return connected


def _filled(mask: Tensor, seeds: Tensor, points_world: Tensor, max_gap: float) -> Tensor:
    across = mask[:, 1:] & mask[:, :-1] & _near(points_world[:, 1:], points_world[:, :-1], max_gap)
    down = mask[1:] & mask[:-1] & _near(points_world[1:], points_world[:-1], max_gap)
    filled = mask & seeds
    while True:
        grown = filled.clone()
        grown[:, 1:] |= filled[:, :-1] & across
        grown[:, :-1] |= filled[:, 1:] & across
        grown[1:] |= filled[:-1] & down
        grown[:-1] |= filled[1:] & down
        if torch.equal(grown, filled):
            return filled
        filled = grown


def _near(one: Tensor, other: Tensor, max_gap: float) -> Tensor:
    return (one - other).norm(dim=-1) < max_gap
