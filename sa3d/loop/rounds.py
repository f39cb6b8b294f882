"""Rounds: visits of all views that are not prompted, until each object has converged.

All objects are segmented in one pass. A view's encoding is loaded once. One sparse product renders
the masks of all objects, and one product casts all their votes. Only the segmenter's decoder runs
for each object.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from torch import Tensor

from sa3d.loop.convergence import best_round, is_converged, verdict
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.object_state import Progress
from sa3d.objects.events import Event, Finished, RoundDone, RoundStarted
from sa3d.objects.inverse_rendering import Evidence, Vote, evidence_of_others, splat_votes
from sa3d.objects.segmentation import ViewRecord
from sa3d.segmenters.answer_check import NoScoreError
from sa3d.voting.candidate_choice import choose
from sa3d.voting.mask_rendering import RenderedMask, agreement, render_masks
from sa3d.voting.self_prompting import SelfPrompt, self_prompt


def segment_object(loop: ObjectLoop) -> Iterator[Event]:
    """Segment one object alone: lift it, then run rounds until it has converged.

    The call may be stopped between any two events; the next call continues from there.

    Raises:
        SA3DError: see ``ObjectLoop.lift``.
    """
    yield from loop.lift()
    yield from run_rounds([loop])


def run_rounds(loops: Sequence[ObjectLoop]) -> Iterator[Event]:
    """Run the rounds that ``ObjectLoop.begin_rounds`` began, for all objects side by side.

    In each step, every object visits the next view of its own outward order. Objects with the same
    next view visit that view together; for example, objects prompted in the same views. The result
    is, bit for bit, that of segmenting one object after the other. A call after a stop continues
    the rounds.

    Each object keeps the round with the most trust, or the lifted object if no round is trusted.
    """
    for loop in loops:
        if (progress := loop.state.progress) is not None and progress.labels_before is not None:
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
                yield loop.view_done(index, len(loop.state.rounds) + 1)


def _close_and_open(loop: ObjectLoop) -> Iterator[Event]:
    """End a round whose views are all visited, and begin the next one or finish the object."""
    while (progress := loop.state.progress) is not None:
        if progress.labels_before is None:
            rounds = loop.state.rounds[progress.earlier_rounds :]
            config = loop.config.convergence
            converged = is_converged(rounds, config) or not progress.order
            if converged or len(rounds) >= config.max_rounds:
                yield _finish(loop, progress, converged)
                return
            progress.labels_before = loop.state.evidence.labels(loop.config.lam)
            progress.voters_before = frozenset(loop.state.votes)
            progress.position, progress.seconds = 0, 0.0
            yield _started(loop, progress)
        if progress.position < len(progress.order):
            return
        yield _end(loop, progress)


def _started(loop: ObjectLoop, progress: Progress) -> RoundStarted:
    left = len(progress.order) - progress.position
    return RoundStarted(loop.name, len(loop.state.rounds) + 1, left)


def _end(loop: ObjectLoop, progress: Progress) -> RoundDone:
    state, before = loop.state, progress.labels_before
    assert before is not None
    changed = len(progress.voters_before ^ state.votes.keys())
    done = loop.end_round(len(state.rounds) + 1, before, changed, progress.seconds)
    progress.snapshots.append((dict(state.records), dict(state.votes), state.appearance.copy()))
    progress.labels_before = None
    return done


def _finish(loop: ObjectLoop, progress: Progress, converged: bool) -> Finished:
    state = loop.state
    rounds = state.rounds[progress.earlier_rounds :]
    chosen = best_round(rounds, loop.config.convergence)
    if chosen < len(rounds):
        records, votes, appearance = progress.snapshots[chosen]
        state.records, state.appearance = dict(records), appearance.copy()
        state.recount_votes(votes)
    kept = chosen and progress.earlier_rounds + chosen
    return loop.finish(converged, kept, verdict(rounds, chosen, converged))


@dataclass(frozen=True)
class _Prediction:
    """Prediction of an object in a view from the other views, and the self-prompt made of it.

    Attributes:
        rendered: the mask rendered from the other views' votes, [R].
        probability, known: the same as images, [h, w].
        prompt: None if no pixel is certain enough.
    """

    rendered: RenderedMask
    probability: Tensor
    known: Tensor
    prompt: SelfPrompt | None


def visit(loops: Sequence[ObjectLoop], index: int, *, inertia: float | None = None) -> None:
    """Visit a view for several objects: segment each, and replace the view's votes.

    Each object gets exactly the result that it would get alone. States change only after all
    objects are segmented.

    Args:
        loops: of different objects, in one scene, with one segmenter and equal settings.
        index: the view.
        inertia: see ``LoopConfig``; by default the value in the settings of the loops.
    """
    scene, config = loops[0].scene, loops[0].config
    operator = scene.prepared(index).operator
    states = [loop.state for loop in loops]
    others = evidence_of_others(
        operator, [one.evidence for one in states], [one.votes.get(index) for one in states]
    )
    rendered = render_masks(
        operator, others, prior=config.prior, prior_weight=config.prompt_prior_weight
    )
    predicted = [_self_prompt(loop, index, one) for loop, one in zip(loops, rendered, strict=True)]
    if any(one.prompt is not None for one in predicted):
        scene.encode(index, loops[0].segmenter)
    inertia = config.inertia if inertia is None else inertia
    records = [
        _segmented(loop, index, one, inertia) for loop, one in zip(loops, predicted, strict=True)
    ]
    voting: dict[int, Vote] = {}
    for position, (loop, record) in enumerate(zip(loops, records, strict=True)):
        state = loop.state
        kept = index in state.votes and record.mask is state.records[index].mask
        state.records[index] = record
        if kept:
            continue
        if state.votes.pop(index, None) is not None:
            state.evidence.set_at(operator.element_ids, others[position])
        if record.outcome == "accepted":
            voting[position] = state.votes[index] = state.vote_of(index)
    sums = splat_votes(operator, list(voting.values()))
    for position, votes in zip(voting, sums, strict=True):
        seen = others[position]
        total = Evidence(seen.object + votes.object, seen.total + votes.total)
        loops[position].state.evidence.set_at(operator.element_ids, total)


def _self_prompt(loop: ObjectLoop, index: int, rendered: RenderedMask) -> _Prediction:
    prepared, camera = loop.scene.prepared(index), loop.scene.views[index].camera
    shape = (prepared.camera.height, prepared.camera.width)
    probability = rendered.probability.reshape(shape).cpu()
    known = rendered.known.reshape(shape).cpu()
    size = (camera.width, camera.height)
    config = loop.config.prompting
    prompt = self_prompt(probability, known, prepared.points_world, size, config)
    return _Prediction(rendered, probability, known, prompt)


def _segmented(loop: ObjectLoop, index: int, predicted: _Prediction, inertia: float) -> ViewRecord:
    """Self-prompt the segmenter, whose current image is the view, and gate its mask."""
    if predicted.prompt is None:
        return _no_mask(predicted.probability)
    state, config = loop.state, loop.config
    loop.show_appearance(index)
    try:
        prediction = predicted.prompt.predict(loop.segmenter)
    except NoScoreError as error:
        photo = loop.scene.views[index].camera
        nothing = np.zeros((photo.height, photo.width), bool)
        return ViewRecord("rejected", 0.0, 0.0, 0.0, nothing, reason=str(error))
    choice = choose(
        prediction,
        loop.scene.prepared(index),
        predicted.rendered,
        state.extent,
        max_gap=config.max_gap * state.extent.size,
        agreement_weight=config.agreement_weight,
    )
    vote = state.votes.get(index)
    voted = None if vote is None else agreement(vote.mask, predicted.rendered)
    decision = gate(choice.agreement, voted, min_agreement=config.min_agreement, inertia=inertia)
    if voted is not None and decision == "keep":
        reason = f"kept: IoU {voted:.2f} with the other views"
        return replace(state.records[index], agreement=voted, reason=reason)
    silent = ViewRecord("rejected", choice.agreement, choice.score, 0.0, choice.mask)
    agreed = f"IoU {choice.agreement:.2f} with the other views"
    if decision == "reject":
        return replace(silent, reason=f"{agreed} is under the gate")
    if index in state.held_out:
        return replace(silent, outcome="held out", reason="held out: measures, does not vote")
    state.appearance.learn(loop.segmenter, index, choice.mask)
    reason = f"{agreed}; candidate {choice.candidate}"
    confidence = loop.confidence(predicted.probability, predicted.known)
    return replace(silent, outcome="accepted", confidence=confidence, reason=reason)


def gate(
    agreement: float, voted: float | None, *, min_agreement: float, inertia: float
) -> Literal["keep", "accept", "reject"]:
    """Decide by agreement (IoU) with the other views whether to accept a view's new mask.

    If the view has voted for a mask that still passes the gate, the new mask replaces it only if it
    agrees better by ``inertia``. This keeps rounds from repeating in a cycle (docs/stop.md).

    Args:
        agreement: of the new mask.
        voted: of the mask that the view has voted for so far; None if it has no vote.
        min_agreement, inertia: see ``LoopConfig``.

    Returns:
        "keep" the mask that voted, or "accept" or "reject" the new one.
    """
    if voted is not None and voted >= min_agreement and agreement < voted + inertia:
        return "keep"
    return "accept" if agreement >= min_agreement else "reject"


def _no_mask(probability: Tensor) -> ViewRecord:
    """Return the record of a view without a self-prompt."""
    none = ViewRecord("unseen", 0.0, 0.0, 0.0, None, reason="the object is not seen here so far")
    if float(probability.max()) < 0.5:
        return none
    return replace(none, outcome="no prompt", reason="no pixel is certain enough to prompt with")
