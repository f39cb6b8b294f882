"""Masks after a cut: cleaning, scores, and conversion to logits and back."""

from __future__ import annotations

import numpy as np

from sa3d.segmenters.protocol import LOGITS_SIZE

LOGIT_LIMIT = 10.0
"""Largest absolute logit; SAM's logits have about this range."""

WORK_SIDE_PX = 512
"""Longest side of the mask on which distances are measured: twice the logits' side."""

KEPT_COMPONENT = 0.25
"""Components without a point are kept from this share of the largest component's area."""

FILLED_HOLE = 0.03
"""Holes up to this share of the mask's area are filled."""

THIN_PART_PX = 25
"""Pieces removed by an opening are restored, as thin parts, from this number of pixels."""

WEAK_CONTRAST = 8.0
"""Color step (CIE76) across a border below which the border is uncertain."""

CLICKS_SLOPE = 1.4
"""Predicted IoU per score, for points alone."""

AMBIGUITY = 0.78
"""Predicted IoU subtracted for points alone, since they do not show which part is meant."""

AMBIGUITY_BY_CLICK = 0.08
"""Decrease of ``AMBIGUITY`` with each point."""


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Return the distance to the border of a mask [H, W] bool: [H, W] float32, pixels.

    The distance is positive inside. The border lies between pixels, so pixels next to the border
    have +-0.5.
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
    """Convert a mask [H, W] bool to logits [256, 256] float32: clipped signed distances."""
    import cv2

    height, width = mask.shape
    zoom = WORK_SIDE_PX / max(height, width)
    if zoom < 1:
        small = (max(1, round(width * zoom)), max(1, round(height * zoom)))
        mask = cv2.resize(mask.astype(np.float32), small, interpolation=cv2.INTER_AREA) > 0.5
    cells_per_px = LOGITS_SIZE / np.sqrt(mask.shape[0] * mask.shape[1])
    distance = signed_distance(mask) * np.float32(cells_per_px)
    # Clip after resizing, since averages of clipped distances are flatter at the border.
    logits = cv2.resize(distance, (LOGITS_SIZE, LOGITS_SIZE), interpolation=cv2.INTER_LINEAR)
    return np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT)


def logits_to_image(logits: np.ndarray, image_hw: tuple[int, ...]) -> np.ndarray:
    """Resize logits [256, 256] to the image's size: [H, W] float32."""
    import cv2

    height, width = image_hw
    stretched = np.ascontiguousarray(logits, np.float32)
    return cv2.resize(stretched, (width, height), interpolation=cv2.INTER_LINEAR)


def clean(mask: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Remove specks, whiskers and small holes of a mask, but keep thin parts.

    Args:
        mask: [h, w] bool.
        positive, negative: [N, 2] points (x, y) in pixels of the mask. Components with a positive
            and holes with a negative point are kept.

    Returns:
        [h, w] bool.
    """
    return _fill_holes(_keep_components(_open_gently(mask), positive), negative)


def _open_gently(mask: np.ndarray) -> np.ndarray:
    """Open with a 3x3 square, and restore the thin parts that this removes (up to 2 px wide)."""
    import cv2

    binary = mask.astype(np.uint8)
    opened = cv2.morphologyEx(binary, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(binary - opened, connectivity=8)
    if count <= 1:
        return opened.astype(bool)
    kept = stats[:, cv2.CC_STAT_AREA] >= THIN_PART_PX
    kept[0] = False
    return opened.astype(bool) | kept[np.asarray(labels, np.int32)]


def _keep_components(mask: np.ndarray, positive: np.ndarray) -> np.ndarray:
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept = np.zeros(count, bool)
    kept[_labels_at(labels, positive)] = True
    kept[0] = False
    kept |= areas >= KEPT_COMPONENT * (areas[kept].max() if kept.any() else areas.max())
    kept[0] = False
    return kept[np.asarray(labels, np.int32)]


def _fill_holes(mask: np.ndarray, negative: np.ndarray) -> np.ndarray:
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    filled = stats[:, cv2.CC_STAT_AREA] <= FILLED_HOLE * mask.sum()
    x0, y0 = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    x1, y1 = x0 + stats[:, cv2.CC_STAT_WIDTH], y0 + stats[:, cv2.CC_STAT_HEIGHT]
    at_border = (x0 == 0) | (y0 == 0) | (x1 == mask.shape[1]) | (y1 == mask.shape[0])
    filled &= ~at_border
    filled[0] = False
    filled[_labels_at(labels, negative)] = False
    return mask | filled[np.asarray(labels, np.int32)] if count > 1 else mask


def _labels_at(labels: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Return the labels at the points [N, 2] that lie inside."""
    index = np.rint(np.asarray(xy, np.float64).reshape(-1, 2)).astype(int)
    inside = (index >= 0).all(1) & (index < labels.shape[::-1]).all(1)
    return labels[index[inside, 1], index[inside, 0]]


def score(
    lab: np.ndarray,
    mask: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    box: np.ndarray | None = None,
) -> float:
    """Return how well a mask fits the image and its prompt, in [0, 1].

    Args:
        lab: [h, w, 3] float32, CIE Lab.
        mask: [h, w] bool.
        positive, negative: [N, 2] points (x, y), region pixels.
        box: [4] prompted box, region pixels, or None.
    """
    if not mask.any() or mask.all():
        return 0.0
    quality = (
        _border_quality(lab, mask)
        + 0.15 * (1 - _histogram_overlap(lab, mask))
        - 0.5 * _missed_clicks(mask, positive, negative)
    )
    if box is not None:
        quality = 0.55 * quality + 0.45 * _box_agreement(mask, box)
    return float(np.clip(quality, 0.0, 1.0))


def predicted_iou(quality: float, clicks: int, *, has_mask: bool, has_box: bool) -> float:
    """Return the mean true IoU of masks with a ``score``, which depends on the kind of prompt.

    For each kind, the mean is a straight line fitted to scores and true IoUs of the tuning half of
    the photos and of the demo scenes. For a box, the score itself fits. The order of candidates
    never changes.

    Args:
        quality: from ``score``; 0 (no mask) stays 0.
        clicks: number of points.
        has_mask, has_box: whether the prompt has a mask or a box; with both, the mask decides.
    """
    if quality <= 0 or (has_box and not has_mask):
        return quality
    if has_mask:
        return 0.5 + 0.5 * quality
    missing = AMBIGUITY - AMBIGUITY_BY_CLICK * min(clicks, 3)
    return float(np.clip(CLICKS_SLOPE * quality - missing, 0.02 * quality, 1.0))


def _border_quality(lab: np.ndarray, mask: np.ndarray) -> float:
    """Return a score of the border: contrast, edges, roundness and contact with the frame."""
    import cv2

    binary = mask.astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    border = (binary - cv2.erode(binary, kernel, borderValue=(1,))).astype(bool)
    inside = _local_mean(lab, mask)
    outside = _local_mean(lab, ~mask)
    step = np.linalg.norm((inside - outside)[border], axis=1)
    if not len(step):
        return 0.0
    grey = np.ascontiguousarray(lab[..., 0])
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    edge_ratio = float(gradient[border].mean() / max(float(gradient.mean()), 1e-6))
    area, length = float(mask.sum()), float(border.sum())
    frame = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    touch = float(frame.sum()) / (length + float(frame.sum()))
    return (
        0.30 * np.tanh(float(step.mean()) / 25)
        + 0.25 * (1 - float((step < WEAK_CONTRAST).mean()))
        + 0.15 * np.tanh(edge_ratio / 2)
        + 0.15 * min(1.0, 6 * 4 * np.pi * area / length**2)
        - 0.8 * touch
    )


def _local_mean(lab: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mean color [h, w, 3] of the mask's pixels in a 7 px window around each pixel."""
    import cv2

    weight = mask.astype(np.float32)
    total = cv2.boxFilter(weight, -1, (7, 7), normalize=False)
    summed = cv2.boxFilter(lab * weight[..., None], -1, (7, 7), normalize=False)
    return summed / np.maximum(total, 1.0)[..., None]


def _histogram_overlap(lab: np.ndarray, mask: np.ndarray) -> float:
    """Return the Bhattacharyya coefficient of the Lab histograms inside and outside (12 bins)."""
    bins = np.clip((lab - (0, -100, -100)) / (100 / 11.99, 200 / 11.99, 200 / 11.99), 0, 11)
    code = bins.astype(np.int32) @ np.array([144, 12, 1], np.int32)
    inside = np.bincount(code[mask], minlength=1728).astype(np.float64)
    outside = np.bincount(code[~mask], minlength=1728).astype(np.float64)
    return float(np.sqrt(inside / inside.sum() * outside / outside.sum()).sum())


def _missed_clicks(mask: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the share of points that the mask contradicts."""
    right = 0
    for points, wanted in ((positive, True), (negative, False)):
        for x, y in np.rint(points).astype(int):
            inside = 0 <= x < mask.shape[1] and 0 <= y < mask.shape[0] and bool(mask[y, x])
            right += inside == wanted
    count = len(positive) + len(negative)
    return 1 - right / count if count else 0.0


def _box_agreement(mask: np.ndarray, box: np.ndarray) -> float:
    """Return the IoU of the mask's bounding box with the prompted box."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    own = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    asked = np.array([box[0], box[1], box[2] + 1, box[3] + 1], float)
    overlap = np.minimum(own[2:], asked[2:]) - np.maximum(own[:2], asked[:2])
    both = float(np.prod(np.maximum(overlap, 0)))
    union = float(np.prod(own[2:] - own[:2]) + np.prod(asked[2:] - asked[:2])) - both
    return both / max(union, 1e-6)
