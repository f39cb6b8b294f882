"""What detectors find in a few views, judged by geometry: does it lie where other views find it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.base.mask_overlap import iou
from sa3d.detectors.protocol import Detections
from sa3d.loop.config import LoopConfig
from sa3d.objects.inverse_rendering import Evidence, Vote
from sa3d.scene.scene import Scene
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.voting.mask_rendering import agreement, render_mask

Box = tuple[float, float, float, float]

MIN_SEEN = 0.1
"""A view counts if it sees this share of a candidate's pixels, or more."""

UNCHECKED = 0.5
"""What a candidate that no other view sees is worth: more than a refuted one, less than a
confirmed one."""

SAME = 0.5
"""Candidates whose masks overlap by more than this IoU, seen from one view, are one object."""


@dataclass(frozen=True)
class Found:
    """A detection of one view, with its mask.

    Attributes:
        view: index in the scene.
        box: x0, y0, x1, y1, pixel indices, corners included.
        score: the detector's.
        mask: [H, W] bool at the photo's size.
        own_mask: whether the mask is the detector's.
    """

    view: int
    box: Box
    score: float
    mask: np.ndarray
    own_mask: bool

    def obeys(self, points: Sequence[tuple[float, float]], labels: Sequence[int]) -> bool:
        """Whether all points on the object lie in box and mask, and none beside it in the mask."""
        x0, y0, x1, y1 = self.box
        for (x, y), label in zip(points, labels, strict=True):
            inside = bool(self.mask[int(y), int(x)])
            if inside != bool(label) or (label and not (x0 <= x <= x1 and y0 <= y <= y1)):
                return False
        return True


@dataclass(frozen=True)
class Judgement:
    """What the other views say of a detection.

    Attributes:
        total: in [0, 1]: the mean, over the views that see it, of detection score times agreement.
        agreement: mean IoU, over the other views that see it, with what they find; None if no
            other view sees it.
        checked: how many other views see it.
        same: the detections that show the same object.
    """

    total: float
    agreement: float | None
    checked: int
    same: Sequence[Found]


def find_in_view(
    scene: Scene,
    index: int,
    segmenter: PromptableSegmenter,
    detections: Detections,
) -> list[Found]:
    """Detections with masks: the detector's own, or the segmenter's for the box."""
    camera = scene.views[index].camera
    if len(detections) and detections.masks is None:
        scene.encode(index, segmenter)
    found = []
    for position, edges in enumerate(detections.boxes):
        box = pixel_box(edges, camera.width, camera.height)
        if detections.masks is not None:
            mask = detections.masks[position]
        else:
            prediction = segmenter.predict(box=np.array(box, dtype=np.float32))
            mask = prediction.masks[int(prediction.scores.argmax())]
        if mask.any():
            score = float(detections.scores[position])
            found.append(Found(index, box, score, mask, detections.masks is not None))
    return found


def pixel_box(edges: np.ndarray, width: int, height: int) -> Box:
    """A box of edges (the whole image is 0, 0, W, H) as indices of its corner pixels."""
    left, top, right, bottom = (round(float(edge)) for edge in edges)
    x0, y0 = min(max(left, 0), width - 2), min(max(top, 0), height - 2)
    x1, y1 = min(max(right - 1, x0 + 1), width - 1), min(max(bottom - 1, y0 + 1), height - 1)
    return (float(x0), float(y0), float(x1), float(y1))


def judge(
    scene: Scene, candidate: Found, found: Mapping[int, Sequence[Found]], config: LoopConfig
) -> Judgement:
    """Lift a candidate into 3D, and compare it in every other view with what was found there.

    Args:
        found: what was found, for every view looked at.
    """
    mine = _at_rays(scene, candidate)
    evidence = Evidence.none(len(scene.elements), scene.device)
    operator = scene.prepared(candidate.view).operator
    evidence.add(operator, Vote(mine, torch.ones_like(mine)))
    worth, agreements = [candidate.score], []
    same = [f for f in found[candidate.view] if iou(f.mask, candidate.mask) > SAME]
    for index, others in found.items():
        if index == candidate.view:
            continue
        rendered = render_mask(
            scene.prepared(index).operator,
            evidence,
            prior=config.prior,
            prior_weight=config.prior_weight,
        )
        seen = (rendered.known * (rendered.probability > 0.5)).sum()
        if float(seen) < MIN_SEEN * float(mine.sum()):
            continue
        shared = [agreement(_at_rays(scene, other), rendered) for other in others]
        same += [other for other, value in zip(others, shared, strict=True) if value > SAME]
        agreements.append(max(shared, default=0.0))
        products = (other.score * value for other, value in zip(others, shared, strict=True))
        worth.append(max(products, default=0.0))
    if not agreements:
        return Judgement(UNCHECKED * candidate.score, None, 0, same)
    return Judgement(float(np.mean(worth)), float(np.mean(agreements)), len(agreements), same)


def _at_rays(scene: Scene, found: Found) -> Tensor:
    return scene.prepared(found.view).at_rays(found.mask).to(scene.device)
