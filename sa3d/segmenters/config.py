"""Settings of the mask generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sa3d.base.ranges import AT_LEAST_ONE, NOT_NEGATIVE, SHARE, Checked


@dataclass
class MaskGeneratorConfig(Checked, place="find.proposals.masks"):
    """Settings for the choice of prompted points and of kept masks."""

    points_per_side: Annotated[int, AT_LEAST_ONE] = 16
    """The image is prompted at a grid of this many points squared."""
    min_predicted_iou: Annotated[float, SHARE] = 0.6
    """Masks with a smaller predicted IoU are dropped."""
    min_stability: Annotated[float, SHARE] = 0.6
    """Masks with a smaller stability are dropped: the IoU of the mask at a higher and at a lower
    threshold."""
    stability_offset: Annotated[float, NOT_NEGATIVE] = 1.0
    """The threshold is moved up and down by this much, in logits."""
    max_overlap: Annotated[float, SHARE] = 0.7
    """Of two masks with a larger IoU, only the better one is kept (non-maximum suppression)."""
    max_area: Annotated[float, SHARE] = 0.4
    """Masks that cover a larger share of the image are dropped as background."""
    min_area: Annotated[float, SHARE] = 0.0005
    """Masks that cover a smaller share of the image are dropped as specks."""
    refinements: Annotated[int, NOT_NEGATIVE] = 1
    """Number of times that a point's mask is prompted again with its own box and logits."""
