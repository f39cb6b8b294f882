"""Settings of self-prompting."""

from __future__ import annotations

from dataclasses import dataclass

from sa3d.base.ranges import NOT_NEGATIVE, SHARE, check_ranges


@dataclass
class SelfPromptConfig:
    """Settings of the prompts made from a rendered mask."""

    positive_points: int = 4
    """Points on the object, at most."""
    negative_points: int = 4
    """Points beside the object, at most."""
    positive_threshold: float = 0.7
    """Rendered mask value from which a pixel may become an object point."""
    negative_threshold: float = 0.1
    """Rendered mask value up to which a pixel may become a background point."""
    spread: float = 0.25
    """Distance between points from which a point keeps its full confidence, as a share of the
    object's own 3D size; nearer points lose confidence in proportion."""
    ring: float = 0.6
    """Background points lie within this share of the object's image size around its box."""
    box_padding: float = 0.02
    """The box prompt is the rendered mask's box, grown by this share of its size."""

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            SA3DError: a value is out of range; the message names it and its range.
        """
        check_ranges(
            "loop.prompting",
            self,
            positive_points=NOT_NEGATIVE,
            negative_points=NOT_NEGATIVE,
            positive_threshold=SHARE,
            negative_threshold=SHARE,
            spread=NOT_NEGATIVE,
            ring=NOT_NEGATIVE,
            box_padding=NOT_NEGATIVE,
        )
