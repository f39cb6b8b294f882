"""Settings of the report page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class ReportConfig:
    """What a report shows."""

    max_views: int = 12
    """Views shown with the mask of each object, spread over the scene."""
    doubt_views: int = 4
    """Views shown with the doubt about each object."""
    rejected_views: int = 4
    """Rejected views shown with the mask that was rejected; all of them are listed."""
    picture_side: int = 560
    """Longest side of the pictures, in pixels."""
    turntable: bool = True
    """Show every object turning: the slowest part without a GPU."""
    turning: Literal["mesh", "nerf"] = "mesh"
    """What turns: the object's mesh, or the NeRF with everything else cut away."""
    turntable_frames: int = 20
    """Pictures of a turn."""
    turntable_side: int = 144
    """Side of those pictures, in pixels."""
