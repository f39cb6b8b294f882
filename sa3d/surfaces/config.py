"""Settings of finding what stands out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StandingOutConfig:
    """How clusters of surface are found; lengths are in pixel footprints (at operator resolution,
    the side of a pixel at the scene's median depth)."""

    plane_share: float = 0.2
    """A plane is support or background if this share of all surface pixels lies on it."""
    plane_thickness: float = 2.0
    """Surface nearer to a plane than this, in footprints, lies on it."""
    max_planes: int = 4
    """Planes looked for, at most."""
    cell: float = 1.5
    """Surface further apart than about this, in footprints, is not connected."""
    min_views: int = 3
    """Surface seen in fewer views is noise."""
    min_frames: float = 0.5
    """Surface inside the frame of a smaller share of the views is background."""
    max_step: float = 6.0
    """Neighbouring pixels whose surfaces are further apart than this, in their own footprints,
    lie at an edge: their depth is between things and is not used."""
