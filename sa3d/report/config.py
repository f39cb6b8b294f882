"""Settings of the report page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from sa3d.base.ranges import AT_LEAST_ONE, NOT_NEGATIVE, Checked


@dataclass
class ReportConfig(Checked):
    """Settings for a report."""

    max_views: Annotated[int, NOT_NEGATIVE] = 12
    """Number of views with the mask of each object, spread over the scene."""
    doubt_views: Annotated[int, NOT_NEGATIVE] = 4
    """Number of views with the doubt about each object."""
    rejected_views: Annotated[int, NOT_NEGATIVE] = 4
    """Number of rejected views shown with the rejected mask; the page lists all of them."""
    picture_side: Annotated[int, AT_LEAST_ONE] = 560
    """Longest side of the images, in pixels."""
    turntable: bool = True
    """Show every object turning. This is the slowest part without a GPU."""
    turning: Literal["mesh", "nerf"] = "mesh"
    """Turn the object's mesh, or the field with everything else cut away."""
    turntable_frames: Annotated[int, AT_LEAST_ONE] = 20
    """Number of images of a turn."""
    turntable_side: Annotated[int, AT_LEAST_ONE] = 144
    """Side of these images, in pixels."""
