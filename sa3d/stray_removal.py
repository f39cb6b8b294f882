"""What of a view's mask belongs to the object: connected with it in the image *and* in 3D."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sa3d.connected_surface import connected_surface
from sa3d.object_extent import Extent
from sa3d.scene import PreparedView


def without_strays(
    mask: np.ndarray, view: PreparedView, seeds: Tensor, extent: Extent, max_gap: float
) -> np.ndarray:
    """A mask [H, W] without parts that touch the object in the picture but not in 3D.

    Parts within the object's extent stay: where a NeRF is weak its own surface is torn.

    Args:
        seeds: [R] bool at operator resolution, where the object is known to be.
        extent: where the object is known to be.
        max_gap: see :func:`sa3d.connected_surface.connected_surface`; as far beyond the extent may
            a torn part lie.
    """
    shape = (view.camera.height, view.camera.width)
    claimed = (view.at_rays(mask) > 0.5).reshape(shape)
    connected = connected_surface(claimed, seeds.cpu().reshape(shape), view.points_world, max_gap)
    near = extent.grown(max_gap).contains(view.points_world)
    stray = (claimed & ~connected & ~near)[None, None].float()
    return mask & ~(torch.nn.functional.interpolate(stray, mask.shape)[0, 0] > 0).numpy()
