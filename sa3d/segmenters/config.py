"""Settings of the mask generator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class MaskGeneratorConfig:
    """Which clicks are made and which masks are kept."""

    points_per_side: int = 16
    """The image is clicked on a grid of this many points squared."""
    min_predicted_iou: float = 0.6
    """Masks the segmenter itself believes in less are dropped."""
    min_stability: float = 0.6
    """Masks that change more when their threshold is moved are dropped (IoU of the two)."""
    stability_offset: float = 1.0
    """The threshold is moved by this much, in logits, up and down."""
    max_overlap: float = 0.7
    """Of two masks whose IoU is larger, the better one stays (non-maximum suppression)."""
    max_area: float = 0.4
    """Masks over a larger share of the image are background."""
    min_area: float = 0.0005
    """Masks over a smaller share of the image are specks."""
    refinements: int = 1
    """How often a click's answer is prompted again with its own box and mask."""
