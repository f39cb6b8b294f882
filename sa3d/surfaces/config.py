"""Settings for finding what stands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sa3d.base.ranges import NOT_NEGATIVE, POSITIVE, SHARE, Checked


@dataclass
class StandingOutConfig(Checked, place="find.proposals.standing_out"):
    """Settings for clusters of surface. Lengths are in pixel footprints: the side of a pixel of an
    operator at the scene's median depth."""

    plane_share: Annotated[float, SHARE] = 0.2
    """A plane is support or background if this share of all surface pixels is on it."""
    plane_thickness: Annotated[float, NOT_NEGATIVE] = 2.0
    """Surface nearer to a plane than this, in footprints, is on the plane."""
    max_planes: Annotated[int, NOT_NEGATIVE] = 4
    """Number of planes at most."""
    cell: Annotated[float, POSITIVE] = 1.5
    """Surface further apart than about this, in footprints, is not connected."""
    min_views: Annotated[int, NOT_NEGATIVE] = 3
    """Surface seen in fewer views than this is noise."""
    min_frames: Annotated[float, SHARE] = 0.5
    """Surface that lies in the images of a smaller share of the views is background."""
    max_step: Annotated[float, NOT_NEGATIVE] = 6.0
    """Neighbouring pixels whose surfaces are further apart than this, in their own footprints, are
    at an edge; their depth is a mixture and is not used."""
