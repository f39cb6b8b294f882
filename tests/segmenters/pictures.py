"""Drawn images with textures, whose objects are known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Picture:
    """An image [H, W, 3] uint8 RGB and its object, truth [H, W] bool."""

    image: np.ndarray
    truth: np.ndarray

    @property
    def box(self) -> np.ndarray:
        rows, columns = np.nonzero(self.truth)
        return np.array([columns.min(), rows.min(), columns.max(), rows.max()])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def textured(truth: np.ndarray, inside: tuple, outside: tuple, seed: int = 0) -> Picture:
    """Paint object and background with blotches and noise."""
    random = np.random.default_rng(seed)
    blotches = cv2.GaussianBlur(random.normal(0, 90, (*truth.shape, 3)), (0, 0), 4)
    noise = random.normal(0, 5, (*truth.shape, 3))
    colors = np.where(truth[..., None], inside, outside) + blotches + noise
    soft = cv2.GaussianBlur(colors, (0, 0), 0.6)
    return Picture(soft.clip(0, 255).astype(np.uint8), truth)


def blob() -> Picture:
    """Draw a brown ellipse with a dent on a greyish wall, 120 x 160."""
    canvas = np.zeros((120, 160), np.uint8)
    cv2.ellipse(canvas, (82, 60), (40, 28), 20, 0, 360, (1,), -1)
    cv2.circle(canvas, (82, 30), 12, (0,), -1)
    return textured(canvas.astype(bool), (150, 90, 50), (110, 125, 140))


def hammer() -> Picture:
    """Draw a block on a rod of 3 px, which graph cuts tend to lose, 140 x 180."""
    canvas = np.zeros((140, 180), np.uint8)
    cv2.rectangle(canvas, (30, 25), (70, 60), (1,), -1)
    cv2.line(canvas, (65, 55), (150, 115), (1,), 3)
    return textured(canvas.astype(bool), (60, 60, 70), (170, 170, 160), seed=1)


def rod(picture: Picture) -> np.ndarray:
    """Return the pixels of the rod of ``hammer`` beyond the block."""
    part = picture.truth.copy()
    part[:62] = False
    return part


def blurred_logits(truth: np.ndarray, sigma: float, missing: tuple | None = None) -> np.ndarray:
    """Return logits [256, 256] of a mask blurred by sigma px, without a disc (x, y, r)."""
    soft = truth.astype(np.float32)
    if missing is not None:
        cv2.circle(soft, missing[:2], missing[2], (0,), -1)
    soft = cv2.resize(cv2.GaussianBlur(soft, (0, 0), sigma), (256, 256))
    soft = soft.clip(1e-4, 1 - 1e-4)
    return np.log(soft / (1 - soft)).astype(np.float32)


def mask_of(logits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return cv2.resize(logits, shape[::-1]) > 0
