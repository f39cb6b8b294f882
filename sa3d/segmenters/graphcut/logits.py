"""Masks as low-resolution logits and back: signed distance over the image stretched to a square."""

from __future__ import annotations

import numpy as np

from sa3d.segmenters.protocol import LOGITS_SIZE

LOGIT_LIMIT = 10.0
"""Largest absolute logit: SAM's own low-resolution logits have about this range."""

WORK_SIDE_PX = 512
"""Distances are measured on an image of at most this side: twice the logits' resolution."""


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance to the border of ``mask`` [H, W] bool in pixels, positive inside: [H, W] float32.

    The border lies between pixels, so the pixels next to it have +-0.5.
    """
    import cv2

    binary = mask.astype(np.uint8)
    if not binary.any():
        return np.full(mask.shape, -np.float32(max(mask.shape)), np.float32)
    if binary.all():
        return np.full(mask.shape, np.float32(max(mask.shape)), np.float32)
    inside = cv2.distanceTransform(binary, cv2.DIST_L2, cv2.DIST_MASK_5)
    outside = cv2.distanceTransform(1 - binary, cv2.DIST_L2, cv2.DIST_MASK_5)
    return inside - outside - np.where(mask, 0.5, -0.5).astype(np.float32)


def logits_from_mask(mask: np.ndarray) -> np.ndarray:
    """A mask [H, W] bool as logits [256, 256] float32: signed distance in cells, clipped."""
    import cv2

    height, width = mask.shape
    zoom = WORK_SIDE_PX / max(height, width)
    if zoom < 1:
        small = (max(1, round(width * zoom)), max(1, round(height * zoom)))
        mask = cv2.resize(mask.astype(np.float32), small, interpolation=cv2.INTER_AREA) > 0.5
    cells_per_px = LOGITS_SIZE / np.sqrt(mask.shape[0] * mask.shape[1])
    distance = signed_distance(mask) * np.float32(cells_per_px)
    # Clipping first would flatten the border's slope where cells are averaged; after it is exact.
    logits = cv2.resize(distance, (LOGITS_SIZE, LOGITS_SIZE), interpolation=cv2.INTER_LINEAR)
    return np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT)


def logits_to_image(logits: np.ndarray, image_hw: tuple[int, ...]) -> np.ndarray:
    """Logits [256, 256] at the image's size: [H, W] float32."""
    import cv2

    height, width = image_hw
    stretched = np.ascontiguousarray(logits, np.float32)
    return cv2.resize(stretched, (width, height), interpolation=cv2.INTER_LINEAR)
