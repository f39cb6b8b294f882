"""Settings for finding what stands out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StandingOutConfig:
    """Settings for clusters of surface. Lengths are in pixel footprints: the side of a pixel of an
    operator at the scene's median depth."""

    plane_share: float = 0.2
    """A plane is support or background if this share of all surface pixels is on it."""
    plane_thickness: float = 2.0
    """Surface nearer to a plane than this, in footprints, is on the plane."""
    max_planes: int = 4
    """Number of planes at most."""
    cell: float = 1.5
    """Surface further apart than about this, in footprints, is not connected."""
    min_views: int = 3
    """Surface seen in fewer views than this is noise."""
    min_frames: float = 0.5
    """Surface that lies in the images of a smaller share of the views is background."""
    max_step: float = 6.0
    """Neighbouring pixels whose surfaces are further apart than this, in their own footprints, are
    at an edge; their depth is a mixture and is not used."""
