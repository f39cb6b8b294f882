"""Settings of finding objects: everything in a scene, or what words name."""

from __future__ import annotations

from dataclasses import dataclass, field

from sa3d.segmenters.config import MaskGeneratorConfig
from sa3d.surfaces.config import StandingOutConfig


@dataclass
class ProposalConfig:
    """How objects are proposed."""

    views: int = 6
    """Views in which masks are proposed, spread over the scene."""
    min_views: int = 2
    """An object is proposed only if it was found in this many of them."""
    min_overlap: float = 0.5
    """Masks of two views are the same object if their IoU in 3D is this."""
    min_share: float = 0.0015
    """A cluster is proposed in a view if it fills this share of the image."""
    min_height: float = 0.3
    """A smaller share of a mask off all planes (table, floor, wall) is a bump or a stain."""
    prompted_views: int = 2
    """An object's loop starts from its masks in this many views."""
    standing_out: StandingOutConfig = field(default_factory=StandingOutConfig)
    masks: MaskGeneratorConfig = field(default_factory=MaskGeneratorConfig)


@dataclass
class EverythingConfig:
    """With --everything: what counts as an object in the end."""

    min_agreement: float = 0.6
    """Objects whose views agree less (mean IoU, 0 to 1) are dropped."""
    min_seen: float = 0.3
    """Objects found in a smaller share of the views are dropped: they are background."""
    max_shared: float = 0.5
    """Of two objects that share more of the smaller one's elements, the one with the better
    agreement stays."""
    proposals: ProposalConfig = field(default_factory=ProposalConfig)


@dataclass
class WordsConfig:
    """How things named in words are found."""

    views: int = 5
    """How many views are searched; spread over the scene, the one named by --view among them."""
    threshold: float | None = None
    """Score from which a detection counts; the detector's own if left out."""
    most: int = 8
    """At most this many detections of a view are followed."""
