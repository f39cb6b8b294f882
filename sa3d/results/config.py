"""Settings and choices for the results of a segmentation: masks, images, fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from sa3d.base.ranges import NOT_NEGATIVE, SHARE, Checked

Keep = Literal["object", "rest"]
"""The part that a field or a training set keeps: the objects, or everything but them."""

Kind = Literal["mask", "overlay", "object", "removed"]
"""Kinds of images, in this order: the mask; the photo or render, tinted where the object is, with
an outline; the object cut out, transparent elsewhere; the scene without the object."""

_MIN_RADIUS_PX = 3


@dataclass
class RefinementConfig(Checked, place="refinement"):
    """Settings for moving the edges of a mask to those of the photo."""

    reach: Annotated[float, SHARE] = 0.01
    """Distance an edge may move, as a share of the photo's longer side; at least six pixels."""
    contrast: Annotated[float, NOT_NEGATIVE] = 0.01
    """Color steps smaller than this do not count as edges (colors are in [0, 1])."""

    def radius_px(self, height: int, width: int) -> int:
        """Return half the reach in pixels for a photo of this size; at least 3."""
        return max(_MIN_RADIUS_PX, round(self.reach * max(height, width) / 2))
