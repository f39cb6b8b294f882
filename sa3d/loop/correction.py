"""Corrections: the corrected views vote, and the views nearest to them are visited again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sa3d.base.mask_overlap import iou
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.rounds import run_rounds, visit
from sa3d.objects.events import Event, RoundStarted
from sa3d.objects.segmentation import ViewRecord
from sa3d.voting.mask_rendering import at_photo_size, with_own_mask
from sa3d.voting.user_prompts import MUCH_LARGER

CHANGED = 0.97
"""A view's mask has changed if the IoU of the new with the old one is below this."""
_INERTIA = 0.0
"""Inertia in a correction: a new mask replaces the old one if it agrees no worse."""


def correct(loop: ObjectLoop) -> Iterator[Event]:
    """Continue a loop after the prompts of some views, ``loop.state.pending_views``, have changed.

    Corrected views vote with high confidence where they contradict all other views. A view whose
    last prompt was removed is visited like any other view. Then the views nearest to the corrected
    ones are visited again, and the views nearest to each view whose mask changed, and so on, but
    each view only once. No view is encoded again, and the field is not evaluated.

    Raises:
        SA3DError: the segmenter finds nothing at a prompt.
    """
    started, state, config = time.perf_counter(), loop.state, loop.config
    number, views = len(state.rounds) + 1, sorted(state.pending_views or ())
    yield RoundStarted(loop.name, number, len(loop.scene.views))
    before = state.evidence.labels(config.lam)
    prompted = set(state.prompted)
    rounds_kept = state.finished is not None and state.finished.chosen_round > 0
    for index in sorted(prompted - state.records.keys()) if rounds_kept else ():
        visit([loop], index)  # a prompt of this view was removed, and the record with it
    yield from _cast_corrections(loop, [i for i in views if i in prompted], number)
    state = loop.state
    if not rounds_kept:
        # Rounds were stopped, or only the lifted object was kept: visit all views again.
        loop.begin_rounds()
        yield from run_rounds([loop])
        return
    visited, changed = set(prompted), 0
    waiting = [index for index in views if index not in prompted]
    waiting += [index for index in _nearest(loop, views, visited) if index not in waiting]
    while waiting:
        index = min(waiting, key=lambda one: float(loop.distances[one, views].min()))
        waiting.remove(index)
        visited.add(index)
        old = state.records.get(index)
        visit([loop], index, inertia=_INERTIA)
        yield loop.view_done(index, number)
        if _changed(old, state.records[index]):
            changed += 1
            waiting += [one for one in _nearest(loop, [index], visited) if one not in waiting]
    yield loop.end_round(number, before, changed, time.perf_counter() - started)
    again = len(visited) - len(prompted)
    converged = state.finished is not None and state.finished.converged
    verdict = f"corrected: {again} views asked again, {changed} of them changed"
    yield loop.finish(converged, number, verdict)


def _cast_corrections(loop: ObjectLoop, views: Sequence[int], number: int) -> Sequence[Event]:
    """Cast the votes of the corrected views; return their events.

    A new mask that is much larger than the shown one is checked by the nearest views. If their
    agreement is then low, and lower than before, the segmenter found something else than the
    object, and the prompts are segmented again with ``cautious=True``.
    """
    shown = {index: shown_mask(loop, index) for index in views}
    earlier, events = loop.state.copy(), []
    for cautious in (False, True):
        events = [
            loop.vote_by_prompts(index, number, shown[index], cautious=cautious) for index in views
        ]
        loop.state.measure_extent()
        masks = ((loop.state.records[index].mask, shown[index]) for index in views)
        if cautious or not any(mask is not None and much_larger(mask, old) for mask, old in masks):
            break
        if _neighbours_agree(loop, views, earlier.records):
            break
        loop.state = earlier
    return events


def much_larger(mask: np.ndarray, shown: np.ndarray) -> bool:
    """Return whether a mask [H, W] bool is much larger than the shown one, [H, W] in [0, 1]."""
    return bool(mask.sum() > MUCH_LARGER * max((shown > 0.5).sum(), 1))


def _neighbours_agree(
    loop: ObjectLoop, views: Sequence[int], earlier: Mapping[int, ViewRecord]
) -> bool:
    """Return whether the views nearest to corrected ones agree; do not change the state."""
    corrected = loop.state
    loop.state = corrected.copy()
    near = _nearest(loop, views, set(corrected.prompted))
    try:
        for index in near:
            visit([loop], index, inertia=_INERTIA)
        records = loop.state.records
    finally:
        loop.state = corrected
    after = float(np.mean([records[index].agreement for index in near] or [1.0]))
    before = [earlier[index].agreement for index in near if index in earlier]
    return after >= min(loop.config.convergence.warn_agreement, float(np.mean(before or [1.0])))


def shown_mask(loop: ObjectLoop, index: int) -> np.ndarray:
    """Return the mask that a view shows, [H, W] in [0, 1]; see ``sa3d.results.final_masks``."""
    rendered = at_photo_size(loop.scene, index, loop.state.render(index).probability)
    return with_own_mask(rendered, loop.state.records.get(index))


def _nearest(loop: ObjectLoop, views: Sequence[int], visited: set[int]) -> list[int]:
    """Return the views nearest to any of ``views``, without those in ``visited``."""
    near: dict[int, None] = {}
    for index in views:
        order = loop.distances[index].argsort(stable=True).tolist()
        near |= dict.fromkeys([one for one in order if one != index][: loop.config.neighbours])
    return [index for index in near if index not in visited]


def _changed(old: ViewRecord | None, new: ViewRecord) -> bool:
    if old is None or old.outcome != new.outcome:
        return True
    if old.mask is None or new.mask is None:
        return old.mask is not new.mask
    return iou(old.mask, new.mask) < CHANGED
