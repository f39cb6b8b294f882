"""Settings of preparing a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sa3d.base.ranges import SHARE, Checked, Within

MAX_RESOLUTION = 2048
"""Voxels along a side of the mask grid, at most."""


@dataclass
class PrepareConfig(Checked, place="prepare"):
    """Settings of a prepared scene; a scene with other settings is prepared again."""

    resolution: Annotated[int, Within(2, MAX_RESOLUTION)] = 256
    """Voxels along each side of the mask grid; only voxels that rays reach are stored."""
    ray_side: Annotated[int, Within(1, 4096)] = 192
    """Rays along the longer side of each view's operator; final masks have the photos' own size."""
    min_weight: Annotated[float, SHARE] = 0.003
    """Smaller rendering weights of a ray in a voxel are dropped from the view operators."""
