"""Settings of preparing a scene."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PrepareConfig:
    """How a scene is prepared. A change here means preparing anew."""

    resolution: int = 256
    """Voxels along each side of the mask grid (stored sparsely: only where light falls)."""
    ray_side: int = 192
    """Rays along the longer side of each view; masks keep the photos' own size."""
    min_weight: float = 0.003
    """Light below this share of a ray's is dropped from the view operators."""
