"""What speaks for the object at each pixel: color against both mixtures, and color nearby."""

from __future__ import annotations

import numpy as np

from sa3d.segmenters.graphcut.cut import ColorModels

COMPONENTS = 5
"""Gaussians of a mixture in OpenCV."""

COLOR_LIMIT, NEARBY_LIMIT = 6.0, 3.0
"""No color counts for more than this (nats)."""

MIN_VARIANCE = 9.0
"""Added to the variance of colors nearby: 3 units of Lab, about the noise of a photo."""


def color_evidence(rgb: np.ndarray, models: ColorModels) -> np.ndarray:
    """``log p(color | object) - log p(color | background)``, limited: [h, w] float32 nats."""
    flat = rgb.reshape(-1, 3).astype(np.float32)
    ratio = _log_likelihood(flat, models.object) - _log_likelihood(flat, models.background)
    return np.clip(ratio, -COLOR_LIMIT, COLOR_LIMIT).reshape(rgb.shape[:2])


def _log_likelihood(flat: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Log density of colors [N, 3] under a mixture in OpenCV's layout, up to a constant: [N]."""
    numbers = model.ravel()
    total = np.full(len(flat), 1e-12, np.float32)
    for c in range(COMPONENTS):
        weight = numbers[c]
        if weight <= 0:
            continue
        mean = numbers[COMPONENTS + 3 * c :][:3]
        covariance = numbers[4 * COMPONENTS + 9 * c :][:9].reshape(3, 3) + 0.01 * np.eye(3)
        whiten = np.linalg.inv(np.linalg.cholesky(covariance)).T
        off = (flat - mean.astype(np.float32)) @ whiten.astype(np.float32)
        density = weight / np.sqrt(np.linalg.det(covariance))
        total += np.float32(density) * np.exp(-0.5 * np.einsum("ni,ni->n", off, off))
    return np.log(total)


def nearby_evidence(
    lab: np.ndarray, mask: np.ndarray, decided: np.ndarray, radius: int
) -> np.ndarray:
    """The same against one Gaussian each of the object's and background's colors in a window.

    Args:
        lab: [h, w, 3] float32.
        mask: [h, w] bool, what is taken for the object.
        decided: [h, w] bool, the pixels to learn from.
        radius: half the window's side, pixels.

    Returns:
        [h, w] float32 nats, limited; 0 where the window holds one kind only.
    """
    inside, seen_inside = _window_misfit(lab, mask & decided, radius)
    outside, seen_outside = _window_misfit(lab, ~mask & decided, radius)
    ratio = np.clip(outside - inside, -NEARBY_LIMIT, NEARBY_LIMIT)
    return np.where(seen_inside & seen_outside, ratio, 0).astype(np.float32)


def _window_misfit(lab: np.ndarray, mask: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Negative log density [h, w] of each color among the mask's in its window, and if known."""
    import cv2

    window = (2 * radius + 1, 2 * radius + 1)
    weight = mask.astype(np.float32)
    count = cv2.boxFilter(weight, -1, window, normalize=False)
    scale = 1 / np.maximum(count, 1)
    weighted = lab * weight[..., None]
    mean = cv2.boxFilter(weighted, -1, window, normalize=False) * scale[..., None]
    square = cv2.boxFilter(weighted * lab, -1, window, normalize=False) * scale[..., None]
    variance = np.maximum(square - mean * mean, 0) + np.float32(MIN_VARIANCE)
    misfit = 0.5 * ((lab - mean) ** 2 / variance + np.log(variance)).sum(-1)
    return misfit, count > 5
