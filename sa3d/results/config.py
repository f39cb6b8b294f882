"""Settings and choices of what is made of a segmentation: masks, pictures, fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Keep = Literal["object", "rest"]
"""What a field or a training set keeps: the objects, or everything but them."""

Kind = Literal["mask", "overlay", "object", "removed"]
"""The mask; the picture tinted where the object is, with an outline; the object cut out, with
transparency; the scene without the object."""

_MIN_RADIUS_PX = 3


@dataclass
class RefinementConfig:
    """How a mask's edges follow the photo."""

    reach: float = 0.01
    """How far an edge may move, as a share of the photo's longer side; six pixels at least."""
    contrast: float = 0.01
    """Steps in color below this are no edges (colors lie in [0, 1])."""

    def radius_px(self, height: int, width: int) -> int:
        """Half the reach in pixels, for a photo of this size."""
        return max(_MIN_RADIUS_PX, round(self.reach * max(height, width) / 2))
