"""A view the user did not prompt is asked about objects: K columns through one sparse matrix.

Per view the encoding is loaded once and all objects' masks are rendered and voted with together;
only the segmenter's decoder is asked for every object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from sa3d.objects.inverse_rendering import Evidence, Vote, splat_votes
from sa3d.objects.segmentation import ViewRecord
from sa3d.voting.candidate_choice import choose
from sa3d.voting.mask_rendering import RenderedMask, agreement, render_masks
from sa3d.voting.self_prompting import SelfPrompt, self_prompt

if TYPE_CHECKING:
    from sa3d.loop.object_loop import ObjectLoop


@dataclass(frozen=True)
class _Asked:
    """What the other views say of an object in the view, [h, w] each, and the prompts from it."""

    rendered: RenderedMask
    probability: Tensor
    known: Tensor
    prompt: SelfPrompt | None


def visit(loops: Sequence[ObjectLoop], index: int, *, inertia: float | None = None) -> None:
    """Ask a view about several objects; its vote on each is replaced.

    Each object fares exactly as if it were alone. Its state changes only after all were asked.

    Args:
        loops: of different objects, in one scene with one segmenter and equal settings.
        inertia: as in ``LoopConfig``; that of the loops by default.
    """
    scene, config = loops[0].scene, loops[0].config
    operator = scene.prepared(index).operator
    others = _evidence_of_others(loops, index)
    rendered = render_masks(
        operator, others, prior=config.prior, prior_weight=config.prompt_prior_weight
    )
    asked = [_self_prompt(loop, index, one) for loop, one in zip(loops, rendered, strict=True)]
    if any(one.prompt is not None for one in asked):
        scene.encode(index, loops[0].segmenter)
    slow = config.inertia if inertia is None else inertia
    records = [_answer(loop, index, one, slow) for loop, one in zip(loops, asked, strict=True)]
    voting: dict[int, Vote] = {}
    for position, (loop, record) in enumerate(zip(loops, records, strict=True)):
        state = loop.state
        kept = index in state.votes and record.mask is state.records[index].mask
        state.records[index] = record
        if kept:
            continue
        if state.votes.pop(index, None) is not None:
            state.evidence.put_at(operator.element_ids, others[position])
        if record.outcome == "accepted":
            voting[position] = state.votes[index] = state.vote_of(index)
    sums = splat_votes(operator, list(voting.values()))
    for position, votes in zip(voting, sums, strict=True):
        seen = others[position]
        total = Evidence(seen.object + votes.object, seen.total + votes.total)
        loops[position].state.evidence.put_at(operator.element_ids, total)


def _evidence_of_others(loops: Sequence[ObjectLoop], index: int) -> list[Evidence]:
    """The evidence of the view's own elements, [n] each, without what the view itself said."""
    operator = loops[0].scene.prepared(index).operator
    seen = [loop.state.evidence.at(operator.element_ids) for loop in loops]
    own = [position for position, loop in enumerate(loops) if index in loop.state.votes]
    sums = splat_votes(operator, [loops[position].state.votes[index] for position in own])
    for position, vote in zip(own, sums, strict=True):
        whole = seen[position]
        # Float subtraction may leave a trace below zero.
        seen[position] = Evidence(
            (whole.object - vote.object).clamp_min(0), (whole.total - vote.total).clamp_min(0)
        )
    return seen


def _self_prompt(loop: ObjectLoop, index: int, rendered: RenderedMask) -> _Asked:
    prepared, camera = loop.scene.prepared(index), loop.scene.views[index].camera
    shape = (prepared.camera.height, prepared.camera.width)
    probability = rendered.probability.reshape(shape).cpu()
    known = rendered.known.reshape(shape).cpu()
    size = (camera.width, camera.height)
    config = loop.config.prompting
    prompt = self_prompt(probability, known, prepared.points_world, size, config)
    return _Asked(rendered, probability, known, prompt)


def _answer(loop: ObjectLoop, index: int, asked: _Asked, inertia: float) -> ViewRecord:
    """Prompt the segmenter, whose current image is the view, and gate its answer."""
    if asked.prompt is None:
        return _no_mask(asked.probability)
    state, config = loop.state, loop.config
    loop.show_appearance(index)
    choice = choose(
        asked.prompt.ask(loop.segmenter),
        loop.scene.prepared(index),
        asked.rendered,
        state.extent,
        max_gap=config.max_gap * state.extent.size,
        agreement_weight=config.agreement_weight,
    )
    if (vote := state.votes.get(index)) is not None:
        kept = agreement(vote.mask, asked.rendered)
        if kept >= config.min_agreement and choice.agreement < kept + inertia:
            reason = f"kept: IoU {kept:.2f} with the other views"
            return replace(state.records[index], agreement=kept, reason=reason)
    silent = ViewRecord("rejected", choice.agreement, choice.score, 0.0, choice.mask)
    agreed = f"IoU {choice.agreement:.2f} with the other views"
    if choice.agreement < config.min_agreement:
        return replace(silent, reason=f"{agreed} is under the gate")
    if index in state.held_out:
        return replace(silent, outcome="held out", reason="held out: measures, does not vote")
    state.appearance.learn(loop.segmenter, index, choice.mask)
    reason = f"{agreed}; candidate {choice.candidate}"
    confidence = loop.confidence(asked.probability, asked.known)
    return replace(silent, outcome="accepted", confidence=confidence, reason=reason)


def _no_mask(probability: Tensor) -> ViewRecord:
    """The record of a view in which nothing is certain enough to prompt with."""
    none = ViewRecord("unseen", 0.0, 0.0, 0.0, None, reason="the object is not seen here so far")
    if float(probability.max()) < 0.5:
        return none
    return replace(none, outcome="no prompt", reason="no pixel is certain enough to prompt with")
