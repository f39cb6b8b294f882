"""What of a view's mask belongs to the object: connected with it in the image *and* in 3D."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sa3d.scene.scene import PreparedView
from sa3d.surfaces.connected_surface import connected_surface
from sa3d.voting.extent import Extent


def strays(
    claimed: Tensor, view: PreparedView, seeds: Tensor, extent: Extent, max_gap: float
) -> Tensor:
    """Parts of a mask that touch the object in the picture but not in 3D, bool [R].

    Parts within the object's extent are none: where a NeRF is weak its own surface is torn.

    Args:
        claimed: bool [R], the mask at operator resolution.
        seeds: bool [R], where the object is known to be.
        extent: where the object is known to be.
        max_gap: see ``connected_surface``; as far beyond the extent may
            a torn part lie.
    """
    points = view.points_world
    mask, inside = (one.cpu().reshape(points.shape[:-1]) for one in (claimed, seeds))
    beyond = mask.clone()
    beyond[mask] = ~extent.grown(max_gap).contains(points[mask])
    if beyond.any():
        beyond &= ~connected_surface(mask, inside, points, max_gap)
    return beyond.reshape(-1)


def without(mask: np.ndarray, parts: Tensor, view: PreparedView) -> np.ndarray:
    """A view's mask [H, W] bool less some of its rays' pixels, bool [R]."""
    if not parts.any():
        return mask
    small = parts.reshape(1, 1, view.camera.height, view.camera.width).float()
    enlarged = torch.nn.functional.interpolate(small, mask.shape)[0, 0]
    return mask & ~(enlarged > 0).numpy()
