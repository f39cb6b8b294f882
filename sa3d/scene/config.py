"""Settings of preparing a scene."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PrepareConfig:
    """Settings of a prepared scene; a scene with other settings is prepared again."""

    resolution: int = 256
    """Voxels along each side of the mask grid; only voxels that rays reach are stored."""
    ray_side: int = 192
    """Rays along the longer side of each view's operator; final masks have the photos' own size."""
    min_weight: float = 0.003
    """Smaller rendering weights of a ray in a voxel are dropped from the view operators."""
