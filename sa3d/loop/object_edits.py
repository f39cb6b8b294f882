"""Merges of objects, and splits of a part off an object.

The views' records are kept. In every view, the mask of a merged object is the union of the objects'
masks, and a split removes the part's mask from the object's mask. Every view still has one vote per
object, so no view counts twice. The segmenter is used only in the prompted views of a split.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.loop.object_loop import ObjectLoop
from sa3d.objects.events import Event
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ViewRecord
from sa3d.voting.mask_rendering import agreement
from sa3d.voting.user_prompts import predict_from_prompts

_WHOLE = 0.9
"""A mask that covers more than this share of an object's mask is the whole object, not a part."""
_SILENT = ("held out", "rejected", "no prompt", "unseen")
"""Outcomes without a vote, the most informative first."""


def merge(loops: Sequence[ObjectLoop], name: str) -> ObjectLoop:
    """Return a new object merged from several finished objects, which do not change.

    Where an object has no vote in a view, its rendered mask is used.
    """
    started, first = time.perf_counter(), loops[0]
    prompts = _merged_prompts(loops, name)
    loop = ObjectLoop(first.scene, first.segmenter, name, prompts, first.config)
    seen = sorted({index for one in loops for index in one.state.records})
    prompted = set(loop.state.prompted)
    records = {index: _merged_record(loops, index, index in prompted) for index in seen}
    outcomes = [one.state.finished for one in loops]
    converged = all(outcome is not None and outcome.converged for outcome in outcomes)
    verdict = "merged from " + ", ".join(one.name for one in loops)
    together = replace(first.result(), views=records, rounds=(), converged=converged)
    loop.resume(replace(together, name=name, prompts=tuple(prompts), verdict=verdict))
    before = loops[0].state.evidence.labels(loop.config.lam)
    for one in loops[1:]:
        before |= one.state.evidence.labels(loop.config.lam)
    _measure_agreement(loop)
    loop.end_round(1, before, 0, time.perf_counter() - started)
    only_lifted = all(record.outcome == "prompted" for record in records.values())
    loop.finish(converged, 0 if only_lifted else 1, verdict)
    return loop


def split_off(whole: ObjectLoop, prompts: Sequence[Prompt], name: str) -> ObjectLoop:
    """Return a new object for the part of ``whole`` that prompts mark; its rounds have not run yet.

    In the prompted views, the part is the segmenter's mask inside the mask of the whole, and is
    removed from the mask of the whole. After the part's rounds, call ``remove_part``.

    Args:
        prompts: on the part, of the object ``name``, in one or more views.

    Raises:
        SA3DError: the prompts mark nothing of the whole, or all of it. The whole is unchanged then.
    """
    part = ObjectLoop(whole.scene, whole.segmenter, name, prompts, whole.config)
    rests: dict[int, np.ndarray] = {}
    for index in part.state.prompted:
        seen = whole.state.mask(index)
        mask, score = _part_mask(part, index, seen, whole.name)
        part.vote_with_mask(index, mask, score)
        rests[index] = seen & ~mask
    part.measure_lifted()
    part.begin_rounds()
    part.state.split_from = whole.name
    for index, rest in rests.items():
        mask = part.state.mask(index)
        record = whole.state.records.get(index)
        corrected = mask.copy()
        if record is not None and record.corrected is not None and record.mask is not None:
            corrected |= record.corrected & (record.mask == rest)
        _remove_from_prompts(whole, index, mask)
        whole.state.prompts.append(_background_prompt(whole, part, index, mask))
        whole.encode(index)
        whole.vote_with_mask(index, rest, 1.0, corrected)
    whole.state.measure_extent()
    # The part may be removed before its rounds end.
    whole.state.recount_votes(dict(whole.state.votes))
    return part


def remove_part(whole: ObjectLoop, part: ObjectLoop) -> Iterator[Event]:
    """Remove a finished part, split off earlier, from all views' masks of the whole.

    In views that voted on both, the part's mask is also limited to the whole's mask.
    """
    started, state = time.perf_counter(), whole.state
    before = state.evidence.labels(whole.config.lam)
    for index, record in sorted(state.records.items()):
        mask = part.state.mask(index)
        if record.mask is None:
            continue
        if record.outcome == "accepted" and index in part.state.votes:
            _replace_mask(part, index, mask & record.mask)
        _remove_from_prompts(whole, index, mask)
        _replace_mask(whole, index, record.mask & ~mask)
    for loop in (part, whole):
        loop.state.measure_extent()
        _measure_agreement(loop)
    part.state.split_from = None
    finished, number = state.finished, len(state.rounds) + 1
    yield whole.end_round(number, before, 0, time.perf_counter() - started)
    kept = number if finished is not None and finished.chosen_round else 0
    converged = finished is not None and finished.converged
    yield whole.finish(converged, kept, f"{part.name} was split off")


def _replace_mask(loop: ObjectLoop, index: int, mask: np.ndarray) -> None:
    """Replace a view's mask by ``mask`` [H, W], in its record and in its vote, if there is one."""
    state = loop.state
    state.records[index] = replace(state.records[index], mask=mask)
    if state.retract_vote(index) is not None:
        state.cast_vote(index, state.vote_of(index))


def _merged_record(loops: Sequence[ObjectLoop], index: int, prompted: bool) -> ViewRecord:
    """Return a view's record of the merged object."""
    records = [one.state.records[index] for one in loops if index in one.state.records]
    voting = [one.state.records[index] for one in loops if index in one.state.votes]
    if not voting:
        return min(records, key=lambda record: _SILENT.index(record.outcome))
    mask = np.logical_or.reduce([one.state.mask(index) for one in loops])
    held_out = not prompted and index in loops[0].state.held_out
    # Where the user's corrections of two objects contradict each other, all views decide again.
    overruled = [
        record.corrected & (record.mask == mask)
        for record in records
        if record.corrected is not None and record.mask is not None
    ]
    return replace(
        voting[0],
        outcome="prompted" if prompted else "held out" if held_out else "accepted",
        score=min(record.score for record in voting),
        confidence=0.0 if held_out else max(record.confidence for record in voting),
        mask=mask,
        corrected=np.logical_or.reduce(overruled) if overruled else None,
    )


def _merged_prompts(loops: Sequence[ObjectLoop], name: str) -> list[Prompt]:
    """Return one prompt for each prompted view, merged from the prompts of all objects.

    A background point of one object that lies on another becomes a point on the merged object.
    """
    merged = []
    for index in dict.fromkeys(index for one in loops for index in one.state.prompted):
        mask = np.logical_or.reduce([one.state.mask(index) for one in loops])
        scene = loops[0].scene
        given = [
            prompt
            for one in loops
            for prompt in one.state.prompts
            if scene.view_index(prompt.view) == index
        ]
        points: dict[tuple[float, float], int] = {}
        for prompt in given:
            for (x, y), label in prompt.labeled_points:
                points[x, y] = max(points.get((x, y), 0), label, int(mask[int(y), int(x)]))
        merged.append(
            Prompt(
                scene.views[index].name,
                name,
                points=tuple(points),
                labels=tuple(points.values()),
                box=_merged_box(given, [point for point, label in points.items() if label]),
                mask=mask if any(prompt.mask is not None for prompt in given) else None,
                candidate=given[0].candidate if len(given) == 1 else None,
            )
        )
    return merged


def _merged_box(
    prompts: Sequence[Prompt], points: Sequence[tuple[float, float]]
) -> tuple[float, float, float, float] | None:
    """Return the box around all boxes and points on the object; None if there is no box."""
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    if not boxes:
        return None
    corners = np.array([*(box[:2] for box in boxes), *(box[2:] for box in boxes), *points])
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return x0, y0, x1, y1


def _part_mask(
    part: ObjectLoop, index: int, seen: np.ndarray, whole: str
) -> tuple[np.ndarray, float]:
    """Return the mask [H, W] of a part inside the whole's mask ``seen``, and its predicted IoU."""
    view = part.scene.views[index]
    here = [p for p in part.state.prompts if part.scene.view_index(p.view) == index]
    size = (view.camera.width, view.camera.height)
    drawn = [mask for prompt in here if (mask := prompt.load_mask(*size)) is not None]
    nothing = f"nothing of {whole!r} is at the prompt in {view.name!r}: click on it"
    if not drawn and not any(prompt.box for prompt in here) and not _clicked(here, seen):
        raise SA3DError(nothing)
    part.encode(index)
    if drawn:
        offered = [(1.0, np.logical_or.reduce(drawn))]
    else:
        answer = predict_from_prompts(part.segmenter, here, multimask_output=True)
        offered = list(zip(answer.scores.tolist(), answer.masks, strict=True))
        if here[-1].candidate is not None:
            offered = [offered[here[-1].candidate]]
    inside = [(score, mask & seen) for score, mask in offered]
    inside = [(score, mask) for score, mask in inside if mask.any()]
    if not inside:
        raise SA3DError(nothing)
    parts = [(score, mask) for score, mask in inside if mask.sum() <= _WHOLE * seen.sum()]
    if not parts:
        raise SA3DError(
            f"the prompt in {view.name!r} takes all of {whole!r}: draw a box around the part, or "
            "add background points on the rest"
        )
    score, mask = max(parts, key=lambda one: one[0])
    return mask, score


def _clicked(prompts: Sequence[Prompt], mask: np.ndarray) -> bool:
    """Return whether a point on the object is in a mask [H, W], or there is no such point."""
    on = [point for prompt in prompts for point, label in prompt.labeled_points if label]
    return not on or any(mask[int(y), int(x)] for x, y in on)


def _background_prompt(whole: ObjectLoop, part: ObjectLoop, index: int, mask: np.ndarray) -> Prompt:
    """Return a prompt for the whole in a view: background points on the part."""
    from scipy.ndimage import distance_transform_edt

    here = [p for p in part.state.prompts if part.scene.view_index(p.view) == index]
    points = [
        point
        for prompt in here
        for point, label in prompt.labeled_points
        if label == 1 and mask[int(point[1]), int(point[0])]
    ]
    if not points:
        depth = np.asarray(distance_transform_edt(np.pad(mask, 1)))[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        points = [(float(x), float(y))]
    view = whole.scene.views[index].name
    return Prompt(view, whole.name, points=tuple(points), labels=(0,) * len(points))


def _remove_from_prompts(whole: ObjectLoop, index: int, mask: np.ndarray) -> None:
    """Remove a part [H, W] from the prompts of a view; points on it become background points."""
    camera = whole.scene.views[index].camera
    for position, prompt in enumerate(whole.state.prompts):
        if whole.scene.view_index(prompt.view) != index:
            continue
        drawn = prompt.load_mask(camera.width, camera.height)
        rest = prompt.mask if drawn is None or not (drawn & ~mask).any() else drawn & ~mask
        labels = tuple(
            0 if mask[int(y), int(x)] else label for (x, y), label in prompt.labeled_points
        )
        whole.state.prompts[position] = replace(prompt, mask=rest, labels=labels)


def _measure_agreement(loop: ObjectLoop) -> None:
    """Measure the agreement of all views again; then count all votes again."""
    state = loop.state
    for index, record in state.records.items():
        if record.mask is None or record.outcome not in ("accepted", "held out"):
            continue
        agrees = agreement(state.mask_to_rays(index, record.mask), state.render_others(index))
        state.records[index] = replace(record, agreement=agrees)
    state.recount_votes(dict(state.votes))
