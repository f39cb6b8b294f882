"""Measures segmentations of one object at a time, by two protocols.

*visible*: all photos may be used. The final masks of the annotated views are compared, except the
prompted ones. *unseen*: the photos of the target views are never given to the segmenter, cast no
votes, and are not used afterwards: their masks are rendered from the 3D segmentation alone. (The
field may have been trained on them; that depends on the run.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.benchmark.cases import Case, view_of
from nerfstudio_plugin.benchmark.config import Protocol
from sa3d.base.errors import SA3DError
from sa3d.base.mask_overlap import iou
from sa3d.evaluation.simulated_user import next_click
from sa3d.evaluation.stages import boundary_f
from sa3d.loop.session import Session
from sa3d.objects.prompts import Prompt
from sa3d.results.final_masks import final_mask, rendered_probability

Masks = Mapping[int, np.ndarray]
"""Masks by index of the view, bool [H, W] at the photo's size."""

BORDER_TOLERANCE = 0.008
"""Distance at which borders still agree, as a share of the photo's diagonal; from DAVIS."""
GOAL = 0.95
"""Mean IoU at which the simulated user stops."""


@dataclass
class Measured:
    """Result of one case.

    Attributes:
        scene: name of the scene.
        object: name of the object.
        protocol: which views were used.
        iou: mean IoU over the views measured.
        accuracy: mean share of pixels that are right.
        boundary: mean boundary F.
        worst: IoU of the worst view.
        views: number of views measured.
        clicks: the prompt's points, two for a box, and the corrections.
        seconds: by stage.
        verdict: the loop's.
        error: the reason if nothing could be measured.
    """

    scene: str
    object: str
    protocol: Protocol
    iou: float = 0.0
    accuracy: float = 0.0
    boundary: float = 0.0
    worst: float = 0.0
    views: int = 0
    clicks: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    verdict: str = ""
    error: str = ""


def measure(opened: OpenScene, case: Case, protocol: Protocol, corrections: int = 0) -> Measured:
    """Segment a case in its prepared scene by one protocol, and compare with the exact masks.

    Args:
        opened: the prepared scene.
        case: the object.
        protocol: which views may be used.
        corrections: with *visible*, at most this many clicks of a simulated user, each in the
            middle of the largest error in the worst measured view; none above ``GOAL``.

    Raises:
        SA3DError: the annotations do not fit the scene.
    """
    views = opened.scene.views
    exact = case.exact_masks(views)
    prompts = case.prompts(views)
    prompted = {opened.scene.view_index(prompt.view) for prompt in prompts}
    targets = {view_of(views, stem) for stem in case.targets}
    wanted = targets if protocol == "unseen" else set(exact) - prompted
    row = Measured(case.scene, case.object, protocol, clicks=sum(map(_clicks, prompts)))
    if targets & prompted:
        raise SA3DError(f"{case.scene}: a target view is prompted: it would not be unseen")
    scene = opened.scene.without_views(targets) if protocol == "unseen" else opened.scene
    started = time.perf_counter()
    session = Session(scene, opened.segmenter, opened.settings.loop)
    try:
        session.add_prompts(prompts)
        for _ in session.run():
            pass
    except SA3DError as error:
        row.error = str(error)
        return row
    row.seconds["segment"] = time.perf_counter() - started
    compared = {index: exact[index] for index in sorted(wanted)}
    started = time.perf_counter()
    if protocol == "unseen":
        result, name = session.result(), prompts[0].object
        masks = {
            index: rendered_probability(opened.scene, result, name, index) > 0.5
            for index in compared
        }
    else:
        masks = _corrected(session, prompts[0].object, compared, row, corrections)
    row.seconds["masks"] = time.perf_counter() - started
    row.verdict = session.result().object(prompts[0].object).verdict
    _compare(row, masks, compared)
    return row


def _corrected(session: Session, name: str, exact: Masks, row: Measured, clicks: int) -> Masks:
    """Return the final masks of views after at most ``clicks`` clicks of a simulated user."""
    while True:
        result = session.result()
        masks = {index: final_mask(session.scene, result, name, index)[0] for index in exact}
        ious = {index: iou(masks[index], exact[index]) for index in exact}
        if not clicks or np.mean(list(ious.values())) >= GOAL:
            return masks
        worst = min(ious, key=lambda index: ious[index])
        click = next_click(masks[worst], exact[worst])
        assert click is not None  # below the goal there is an error
        view = session.scene.views[worst].name
        clicks -= 1
        row.clicks += 1
        try:
            session.add_prompts([Prompt(view, name, points=(click[0],), labels=(click[1],))])
            for _ in session.run():
                pass
        except SA3DError:  # nothing is found at the click: the user undoes it
            session.undo()
            return masks


def _compare(row: Measured, masks: Masks, exact: Masks) -> None:
    """Set the row's means; skips views in which both masks are empty."""
    counted = [index for index in exact if masks[index].any() or exact[index].any()]
    if not counted:
        row.error = "no view that is measured shows the object"
        return
    ious = [iou(masks[index], exact[index]) for index in counted]
    row.iou, row.worst, row.views = float(np.mean(ious)), min(ious), len(counted)
    row.accuracy = float(np.mean([(masks[i] == exact[i]).mean() for i in counted]))
    row.boundary = float(
        np.mean(
            [
                boundary_f(masks[i], exact[i], BORDER_TOLERANCE * math.dist((0, 0), exact[i].shape))
                for i in counted
            ]
        )
    )


def _clicks(prompt: Prompt) -> int:
    return len(prompt.points) + 2 * (prompt.box is not None)
