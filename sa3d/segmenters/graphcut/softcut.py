"""The exact minimum cut for evidence of our own, by OpenCV's solver.

GrabCut's solver is fast but takes its evidence from color mixtures only. So the evidence is
written into a channel of the picture, and two Gaussians whose log ratio is linear in that channel
read it back. The other two channels hold the picture's two main color axes, for the smoothness.
"""

from __future__ import annotations

import numpy as np

from sa3d.segmenters.graphcut.cut import (
    BACKGROUND,
    NO_RECTANGLE,
    OBJECT,
    ColorModels,
    is_solvable,
)

LEVELS = 48
"""Steps of the evidence channel: fine enough, and small beside color edges."""

EVIDENCE_LIMIT = 6.0
"""Evidence beyond this (nats) is clipped."""

GAIN = 4.0
"""Weight of the evidence; GrabCut's own is 1, which costs thin parts."""

COLOR_CONTRAST = 3.8
"""8-bit steps per unit of Lab in the color channels; most pictures stay within +-127."""

FLAT_VARIANCE = 1e6
"""Variance of the color channels in the two Gaussians: they must say nothing there."""

CANDIDATE_OFFSET = 1.0
"""Evidence (nats) taken from every pixel for the tight candidate, added for the loose one."""


def main_colors(lab: np.ndarray) -> np.ndarray:
    """The two principal axes of the colors of [h, w, 3] Lab: [h, w, 2] uint8."""
    flat = lab.reshape(-1, 3)
    centred = flat - flat.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    projected = centred @ axes[:, [2, 1]].astype(np.float32)
    # Eigenvectors have no sign of their own; only differences of colors matter here.
    steps = np.clip(np.rint(projected * COLOR_CONTRAST + 128), 0, 255)
    return steps.astype(np.uint8).reshape(*lab.shape[:2], 2)


def soft_cuts(
    colors: np.ndarray, evidence: np.ndarray, trimap: np.ndarray, *, multimask: bool
) -> list[np.ndarray]:
    """The minimum cut [h, w] bool; with ``multimask`` between a tighter and a looser one.

    Minimum cuts grow with the evidence: the tight one lies in the normal one, that in the loose.
    """
    normal = soft_cut(colors, evidence, trimap)
    if not multimask:
        return [normal]
    within = np.where(normal, trimap, BACKGROUND).astype(np.uint8)
    beyond = np.where(normal, OBJECT, trimap).astype(np.uint8)
    tight = soft_cut(colors, evidence - CANDIDATE_OFFSET, within)
    return [tight, normal, soft_cut(colors, evidence + CANDIDATE_OFFSET, beyond)]


def soft_cut(colors: np.ndarray, evidence: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Minimum cut between object and background.

    Args:
        colors: [h, w, 2] uint8 of ``main_colors``.
        evidence: [h, w] float32, nats; positive for the object.
        trimap: [h, w] uint8; its certain labels hold.

    Returns:
        Mask [h, w] bool.
    """
    import cv2

    maybe = (evidence > 0).astype(np.uint8) + 2
    labels = np.where(trimap < 2, trimap, maybe).astype(np.uint8)
    if not is_solvable(labels):
        return (labels & 1).astype(bool)
    level = np.clip((evidence / EVIDENCE_LIMIT + 1) * (LEVELS / 2), 0, LEVELS)
    picture = np.dstack([np.rint(level).astype(np.uint8), colors])
    models = _readers()
    cv2.grabCut(
        picture,
        labels,
        NO_RECTANGLE,
        models.background,
        models.object,
        1,
        cv2.GC_EVAL_FREEZE_MODEL,
    )
    return (labels & 1).astype(bool)


def _readers() -> ColorModels:
    """Gaussians at both ends of the channel: log ratio GAIN * evidence."""
    variance = LEVELS**2 / (2 * GAIN * EVIDENCE_LIMIT)
    models = ColorModels.empty()
    for model, mean in ((models.background, 0), (models.object, LEVELS)):
        model[0, 0] = 1
        model[0, 5:8] = (mean, 128, 128)
        model[0, 20:29] = np.diag([variance, FLAT_VARIANCE, FLAT_VARIANCE]).ravel()
    return models
