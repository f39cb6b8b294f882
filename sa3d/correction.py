"""A correction: the user's view counts at once, and its neighbours are asked again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from sa3d.events import Event, RoundStarted
from sa3d.final_masks import at_photo_size, with_own_mask
from sa3d.mask_overlap import iou
from sa3d.object_loop import ObjectLoop
from sa3d.rounds import run_rounds
from sa3d.segmentation import ViewRecord
from sa3d.view_visit import visit

CHANGED = 0.97
"""A view whose new mask has a lower IoU with its old one has changed."""


def correct(loop: ObjectLoop) -> Iterator[Event]:
    """Continue a loop after the prompts of some views, ``loop.state.waiting``, have changed.

    Those views count fully; where a click changed what all other views said, they are overruled.
    A view without a prompt left becomes one like any other. The views nearest to them are asked
    again, and the nearest to each whose mask changed, and so on; each once. Nothing else is
    touched: no view is encoded anew, the NeRF is not evaluated.

    Raises:
        SA3DError: the segmenter finds nothing at a prompt.
    """
    started, state, config = time.perf_counter(), loop.state, loop.config
    number, views = len(state.rounds) + 1, sorted(state.waiting or ())
    yield RoundStarted(loop.name, number, len(loop.scene.views))
    before = state.evidence.labels(config.lam)
    prompted = set(state.prompted)
    for index in views:
        if index in prompted:
            yield loop.ask_user(index, number, seen_by_user(loop, index))
        else:
            state.retract(index)
            state.records.pop(index, None)
    state.measure_extent()
    if state.finished is None or state.finished.chosen_round == 0:
        # The others were not asked to the end, or had found something else: all are asked again.
        loop.begin_rounds()
        yield from run_rounds([loop])
        return
    asked, changed = set(prompted), 0
    waiting = [index for index in views if index not in prompted]
    waiting += [index for index in _nearest(loop, views, asked) if index not in waiting]
    while waiting:
        index = min(waiting, key=lambda one: float(loop.distances[one, views].min()))
        waiting.remove(index)
        asked.add(index)
        old = state.records.get(index)
        visit([loop], index)
        yield loop.told(index, number)
        if _changed(old, state.records[index]):
            changed += 1
            waiting += [one for one in _nearest(loop, [index], asked) if one not in waiting]
    yield loop.close_round(number, before, changed, time.perf_counter() - started)
    again = len(asked) - len(prompted)
    converged = state.finished is not None and state.finished.converged
    said = f"corrected: {again} views asked again, {changed} of them changed"
    yield loop.finish(converged, number, said)


def seen_by_user(loop: ObjectLoop, index: int) -> np.ndarray:
    """The mask a view showed, [H, W] in [0, 1]: as :mod:`sa3d.final_masks` puts it together."""
    rendered = at_photo_size(loop.scene, index, loop.state.render(index).probability)
    return with_own_mask(rendered, loop.state.records.get(index))


def _nearest(loop: ObjectLoop, views: Sequence[int], asked: set[int]) -> list[int]:
    """The views nearest to any of ``views``, less those asked before."""
    near: dict[int, None] = {}
    for index in views:
        order = loop.distances[index].argsort(stable=True).tolist()
        near |= dict.fromkeys([one for one in order if one != index][: loop.config.neighbours])
    return [index for index in near if index not in asked]


def _changed(old: ViewRecord | None, new: ViewRecord) -> bool:
    if old is None or old.outcome != new.outcome:
        return True
    if old.mask is None or new.mask is None:
        return old.mask is not new.mask
    return iou(old.mask, new.mask) < CHANGED
