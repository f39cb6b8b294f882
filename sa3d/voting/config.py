"""Settings of self-prompting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sa3d.base.ranges import NOT_NEGATIVE, SHARE, Checked


@dataclass
class SelfPromptConfig(Checked, place="loop.prompting"):
    """Settings of the prompts made from a rendered mask."""

    positive_points: Annotated[int, NOT_NEGATIVE] = 4
    """Points on the object, at most."""
    negative_points: Annotated[int, NOT_NEGATIVE] = 4
    """Points beside the object, at most."""
    positive_threshold: Annotated[float, SHARE] = 0.7
    """Rendered mask value from which a pixel may become an object point."""
    negative_threshold: Annotated[float, SHARE] = 0.1
    """Rendered mask value up to which a pixel may become a background point."""
    spread: Annotated[float, NOT_NEGATIVE] = 0.25
    """Distance between points from which a point keeps its full confidence, as a share of the
    object's own 3D size; nearer points lose confidence in proportion."""
    ring: Annotated[float, NOT_NEGATIVE] = 0.6
    """Background points lie within this share of the object's image size around its box."""
    box_padding: Annotated[float, NOT_NEGATIVE] = 0.02
    """The box prompt is the rendered mask's box, grown by this share of its size."""
