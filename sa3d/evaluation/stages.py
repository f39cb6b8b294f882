"""How good a segmentation is: IoU of its masks with exact ones, stage by stage.

Stages: *lifted*, from the prompted views alone; *first pass*, after one round over the views;
*converged*, what the loop returns. Beside them the *upper bound*: exact masks vote in every view,
and what the grid renders is compared, so only the 3D representation is at fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from sa3d.base.mask_overlap import iou
from sa3d.loop.config import LoopConfig
from sa3d.loop.session import Session
from sa3d.objects.events import Event, Finished, RoundDone, RoundStarted
from sa3d.objects.inverse_rendering import Evidence, Vote
from sa3d.objects.segmentation import ObjectResult, Segmentation
from sa3d.results.final_masks import final_masks
from sa3d.scene.scene import Scene

STAGES = ("lifted", "first_pass", "converged")


def boundary_f(mask: np.ndarray, exact: np.ndarray, tolerance_px: float) -> float:
    """F-score of a mask's border, as in the DAVIS benchmark (Perazzi et al. 2016).

    Precision is the share of the mask's border pixels within the tolerance of the exact border,
    recall that of the exact border's pixels; the picture's own border is no border. 1 if neither
    mask has one, 0 if only one has.

    Args:
        mask, exact: [H, W] bool.
        tolerance_px: DAVIS takes 0.8% of the picture's diagonal.
    """
    from scipy.ndimage import distance_transform_edt

    mine, true = _border(mask), _border(exact)
    if not mine.any() or not true.any():
        return float(mine.any() == true.any())
    precision = (np.asarray(distance_transform_edt(~true))[mine] <= tolerance_px).mean()
    recall = (np.asarray(distance_transform_edt(~mine))[true] <= tolerance_px).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def _border(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask beside one that is not of it."""
    padded = np.pad(mask, 1, mode="edge")
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return mask & ~np.logical_and.reduce(beside)


def view_ious(masks: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> list[float | None]:
    """IoU per view; None where the object is not seen and nothing is claimed."""
    return [
        iou(mask, truth) if mask.any() or truth.any() else None
        for mask, truth in zip(masks, exact, strict=True)
    ]


def mean_iou_over_views(masks: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Mean of ``view_ious``; what is claimed where the object is not seen counts as 0."""
    counted = [value for value in view_ious(masks, exact) if value is not None]
    return float(np.mean(counted)) if counted else 1.0


def object_ious(
    scene: Scene, segmentation: Segmentation, exact: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, float]:
    """Mean IoU over views of every object's final masks.

    Args:
        exact: by object, a mask [H, W] bool for each view of the scene, in order.
    """
    masks = [final_masks(scene, segmentation, index) for index in range(len(scene.views))]
    return {
        name: mean_iou_over_views([view[name][0] for view in masks], exact[name])
        for name in segmentation.objects
    }


def upper_bound(
    scene: Scene, exact: Mapping[str, Sequence[np.ndarray]], config: LoopConfig | None = None
) -> Segmentation:
    """What the loop could reach with a perfect segmenter: every view votes its exact mask.

    The masks are rendered from the grid alone: the views keep none of their own.
    """
    config = config or LoopConfig()
    objects = {}
    for name, masks in exact.items():
        evidence = Evidence.zeros(len(scene.elements), scene.device)
        for index, mask in enumerate(masks):
            prepared = scene.prepared(index)
            share = prepared.mask_to_rays(mask).to(scene.device)
            evidence.add(prepared.operator, Vote(share, torch.ones_like(share)))
        objects[name] = ObjectResult(name, (), evidence, {}, (), True, "exact masks voted")
    return Segmentation(
        scene.key, scene.elements, objects, config.prior, config.prior_weight, config.lam
    )


@dataclass
class StageRecorder:
    """Keeps each object as it was when lifted, after the first pass, and at the end."""

    stages: dict[str, dict[str, ObjectResult]] = field(
        default_factory=lambda: {stage: {} for stage in STAGES}
    )

    def watch(self, session: Session) -> Iterable[Event]:
        """Run a session, recording its objects on the way; passes the events on."""
        for event in session.run():
            self.note(session, event)
            yield event

    def segmentation(self, session: Session, stage: str) -> Segmentation:
        """All objects at one stage."""
        return replace(session.result(), objects=self.stages[stage])

    def note(self, session: Session, event: Event) -> None:
        """Look at a session that has just told an event."""
        if isinstance(event, RoundStarted) and event.round == 1:
            reached = STAGES[:1]
        elif isinstance(event, RoundDone) and event.round == 1:
            reached = STAGES[:2]
        elif isinstance(event, Finished):
            reached = STAGES  # with no round at all, the object stays as it was lifted
        else:
            return
        now = session.result().object(event.object)
        for stage in reached:
            self.stages[stage].setdefault(event.object, now)
