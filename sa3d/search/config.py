"""Settings for the search for objects: all of a scene, or the object that words name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from sa3d.base.ranges import AT_LEAST_ONE, SHARE, Checked
from sa3d.segmenters.config import MaskGeneratorConfig
from sa3d.surfaces.config import StandingOutConfig


@dataclass
class ProposalConfig(Checked, place="find.proposals"):
    """Settings for proposing objects."""

    views: Annotated[int, AT_LEAST_ONE] = 6
    """Number of views in which masks are proposed, spread over the scene."""
    min_views: Annotated[int, AT_LEAST_ONE] = 2
    """An object is proposed if it is found in at least this many of these views."""
    min_overlap: Annotated[float, SHARE] = 0.5
    """Masks of two views show the same object if their IoU in 3D is at least this."""
    min_share: Annotated[float, SHARE] = 0.0015
    """A cluster is proposed in a view if it fills at least this share of the image."""
    min_height: Annotated[float, SHARE] = 0.3
    """A mask is dropped if a smaller share of it is off all planes (table, floor, wall)."""
    prompted_views: Annotated[int, AT_LEAST_ONE] = 2
    """Number of views whose masks prompt the loop of an object."""
    standing_out: StandingOutConfig = field(default_factory=StandingOutConfig)
    masks: MaskGeneratorConfig = field(default_factory=MaskGeneratorConfig)


@dataclass
class EverythingConfig(Checked, place="find"):
    """Settings for finding all objects: which of the proposed objects are kept."""

    min_agreement: Annotated[float, SHARE] = 0.6
    """Objects with a lower agreement of their views (mean IoU, 0 to 1) are dropped."""
    min_seen: Annotated[float, SHARE] = 0.3
    """Objects found in a smaller share of the views are dropped: they are background."""
    max_shared: Annotated[float, SHARE] = 0.5
    """If two objects share more than this part of the smaller one's elements, only the one with the
    better agreement is kept."""
    proposals: ProposalConfig = field(default_factory=ProposalConfig)


@dataclass
class WordsConfig(Checked, place="words"):
    """Settings for finding an object by words."""

    views: Annotated[int, AT_LEAST_ONE] = 5
    """Number of views to search, spread over the scene; the prompt's own view is one of them."""
    threshold: Annotated[float | None, SHARE] = None
    """Lowest score of a detection that counts; by default the detector's own."""
    most: Annotated[int, AT_LEAST_ONE] = 8
    """Number of detections of a view that are compared, at most."""
