"""Checks of a segmenter's prompt and image, shared by all segmenters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sa3d.segmenters.protocol import LOGITS_SIZE


@dataclass(frozen=True)
class CheckedPrompt:
    """A valid prompt in image pixels, with at least one point, a box or mask logits.

    Attributes:
        positive, negative: [P, 2] and [N, 2] float64, points (x, y) on and beside the object.
        box: [4] float64 x0, y0, x1, y1, or None.
        mask_logits: [256, 256] float32, or None.
    """

    positive: np.ndarray
    negative: np.ndarray
    box: np.ndarray | None
    mask_logits: np.ndarray | None

    @classmethod
    def of(
        cls,
        point_coords: np.ndarray | None,
        point_labels: np.ndarray | None,
        box: np.ndarray | None,
        mask_logits: np.ndarray | None,
    ) -> CheckedPrompt:
        """Check the arguments of ``PromptableSegmenter.predict``.

        Raises:
            ValueError: the prompt is empty, or an array has a wrong shape or wrong values.
        """
        coords, labels = _checked_points(point_coords, point_labels)
        if box is not None:
            box = np.asarray(box, np.float64)
            if box.shape != (4,) or not (box[:2] <= box[2:]).all():
                raise ValueError(f"box must be [x0, y0, x1, y1], x0 <= x1 and y0 <= y1, got {box}")
        if mask_logits is not None:
            mask_logits = np.asarray(mask_logits, np.float32)
            if mask_logits.shape != (LOGITS_SIZE, LOGITS_SIZE):
                raise ValueError(f"mask logits must be [256, 256], got {mask_logits.shape}")
            if not np.isfinite(mask_logits).all():
                raise ValueError("mask logits must be finite")
        if not len(coords) and box is None and mask_logits is None:
            raise ValueError("the prompt is empty: give points, a box or mask logits")
        return cls(coords[labels == 1], coords[labels == 0], box, mask_logits)


def checked_image(image: np.ndarray) -> np.ndarray:
    """Return an image [H, W, 3] uint8 as a contiguous array.

    Raises:
        ValueError: the array has another shape or type, or is empty.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"image must be [H, W, 3] uint8, got {image.shape} {image.dtype}")
    return np.ascontiguousarray(image)


def _checked_points(
    point_coords: np.ndarray | None, point_labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    coords = np.zeros((0, 2)) if point_coords is None else np.asarray(point_coords, np.float64)
    labels = np.zeros(0, int) if point_labels is None else np.asarray(point_labels)
    if coords.ndim != 2 or coords.shape[1] != 2 or labels.shape != (len(coords),):
        raise ValueError(
            f"points must be [N, 2] with labels [N], got {coords.shape} and {labels.shape}"
        )
    if not np.isfinite(coords).all():
        raise ValueError("points must be finite")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("point labels must be 1 (object) or 0 (background)")
    return coords, labels
