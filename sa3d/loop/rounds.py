"""Rounds over the views, for all objects in one pass, until each has converged."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sa3d.loop.convergence import RoundState, best_round, cycle_length, is_converged, verdict
from sa3d.loop.object_state import Progress
from sa3d.loop.view_visit import visit
from sa3d.objects.events import Event, Finished, Outcome, RoundDone, RoundStarted

if TYPE_CHECKING:
    from sa3d.loop.object_loop import ObjectLoop


def run_rounds(loops: Sequence[ObjectLoop]) -> Iterator[Event]:
    """The rounds that ``ObjectLoop.begin_rounds`` began, side by side.

    In each step every object visits the next view of its own outward order. Those whose next view
    is the same, as for objects prompted in the same views, visit it together. The result is that
    of one object after the other, bit for bit. Stopped rounds are gone on with.

    Each object ends with the round trusted most, or back where it began where none is trusted.
    """
    for loop in loops:
        if (progress := loop.state.progress) is not None and progress.labels is not None:
            yield _started(loop, progress)
    active = list(loops)
    while active:
        for loop in active:
            yield from _close_and_open(loop)
        active = [loop for loop in active if loop.state.progress is not None]
        due: dict[int, list[ObjectLoop]] = {}
        for loop in active:
            assert loop.state.progress is not None
            due.setdefault(loop.state.progress.next_view, []).append(loop)
        for index, together in due.items():
            started = time.perf_counter()
            visit(together, index)
            seconds = (time.perf_counter() - started) / len(together)
            for loop in together:
                assert loop.state.progress is not None
                loop.state.progress.position += 1
                loop.state.progress.seconds += seconds
            for loop in together:
                yield loop.told(index, len(loop.state.rounds) + 1)


def _close_and_open(loop: ObjectLoop) -> Iterator[Event]:
    """End the round whose views are all done, begin the next; or end them all."""
    while (progress := loop.state.progress) is not None:
        if progress.labels is None:
            rounds = loop.state.rounds[progress.earlier :]
            config = loop.config.convergence
            converged = is_converged(rounds, config) or not progress.order
            cycle = 0 if converged else cycle_length(progress.passed, config)
            if converged or cycle or len(rounds) >= config.max_rounds:
                yield _finish(loop, progress, converged, cycle)
                return
            progress.labels = loop.state.evidence.labels(loop.config.lam)
            progress.outcomes = {i: r.outcome for i, r in loop.state.records.items()}
            progress.position, progress.seconds = 0, 0.0
            yield _started(loop, progress)
        if progress.position < len(progress.order):
            return
        yield _end(loop, progress)


def _started(loop: ObjectLoop, progress: Progress) -> RoundStarted:
    left = len(progress.order) - progress.position
    return RoundStarted(loop.name, len(loop.state.rounds) + 1, left)


def _end(loop: ObjectLoop, progress: Progress) -> RoundDone:
    state, before = loop.state, progress.labels
    assert before is not None
    earlier = progress.outcomes
    changed = sum(state.records[i].outcome != earlier.get(i) for i in progress.order)
    done = loop.close_round(len(state.rounds) + 1, before, changed, progress.seconds)
    progress.kept.append((dict(state.records), dict(state.votes), state.appearance.copy()))
    labels = state.evidence.labels(loop.config.lam)
    outcomes: dict[int, Outcome] = {i: record.outcome for i, record in state.records.items()}
    progress.passed.append(RoundState(labels, outcomes))
    progress.labels = None
    return done


def _finish(loop: ObjectLoop, progress: Progress, converged: bool, cycle: int) -> Finished:
    state = loop.state
    rounds = state.rounds[progress.earlier :]
    chosen = best_round(rounds, loop.config.convergence)
    if chosen < len(rounds):
        records, votes, appearance = progress.kept[chosen]
        state.records, state.appearance = dict(records), appearance.copy()
        state.recount(votes)
    kept = chosen and progress.earlier + chosen
    return loop.finish(converged, kept, verdict(rounds, chosen, converged, cycle), cycle)
