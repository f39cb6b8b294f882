"""IoU of a segmentation's masks with exact masks, stage by stage.

Stages: *lifted*, from the prompted views alone; *first pass*, after the first round; *converged*,
the loop's result. The *upper bound* is rendered from votes of exact masks in every view: its errors
are those of the 3D representation alone.
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
    """Return the F-score of a mask's border, as in the DAVIS benchmark (Perazzi et al. 2016).

    Precision is the share of the mask's border pixels within the tolerance of the exact border, and
    recall the share of the exact border's pixels within the tolerance of the mask's border. The
    image's edges are not borders. The score is 1 if no mask has a border, and 0 if only one mask
    has a border.

    Args:
        mask, exact: [H, W] bool.
        tolerance_px: in pixels; DAVIS uses 0.8% of the image's diagonal.
    """
    from scipy.ndimage import distance_transform_edt

    mine, true = _border(mask), _border(exact)
    if not mine.any() or not true.any():
        return float(mine.any() == true.any())
    precision = (np.asarray(distance_transform_edt(~true))[mine] <= tolerance_px).mean()
    recall = (np.asarray(distance_transform_edt(~mine))[true] <= tolerance_px).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def _border(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask that have a neighbour outside the mask."""
    padded = np.pad(mask, 1, mode="edge")
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return mask & ~np.logical_and.reduce(beside)


def view_ious(masks: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> list[float | None]:
    """Return the IoU in each view; None where both masks are empty."""
    return [
        iou(mask, truth) if mask.any() or truth.any() else None
        for mask, truth in zip(masks, exact, strict=True)
    ]


def mean_iou_over_views(masks: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Return the mean of ``view_ious`` over the views that have an IoU; 1 if there are none."""
    counted = [value for value in view_ious(masks, exact) if value is not None]
    return float(np.mean(counted)) if counted else 1.0


def object_ious(
    scene: Scene, segmentation: Segmentation, exact: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, float]:
    """Return the mean IoU over views of each object's final masks.

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
    """Return the segmentation in which every view votes for its exact mask.

    The views' records have no masks, so final masks are rendered from the elements alone.
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
    """Recorder of each object as lifted, after the first pass, and at the end."""

    stages: dict[str, dict[str, ObjectResult]] = field(
        default_factory=lambda: {stage: {} for stage in STAGES}
    )

    def watch(self, session: Session) -> Iterable[Event]:
        """Run a session and record its objects; yield the session's events."""
        for event in session.run():
            self.note(session, event)
            yield event

    def segmentation(self, session: Session, stage: str) -> Segmentation:
        """Return all objects at one stage."""
        return replace(session.result(), objects=self.stages[stage])

    def note(self, session: Session, event: Event) -> None:
        """Record a session's object if an event ends a stage."""
        if isinstance(event, RoundStarted) and event.round == 1:
            reached = STAGES[:1]
        elif isinstance(event, RoundDone) and event.round == 1:
            reached = STAGES[:2]
        elif isinstance(event, Finished):
            reached = STAGES  # without rounds, the lifted object is the result
        else:
            return
        present = session.result().object(event.object)
        for stage in reached:
            self.stages[stage].setdefault(event.object, present)
