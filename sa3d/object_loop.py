"""One object's loop: lift the user's views, then self-prompt, segment, gate and vote."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sa3d.appearance import AppearanceMemory
from sa3d.candidate_choice import choose
from sa3d.convergence import best_round, is_converged, verdict
from sa3d.errors import SA3DError
from sa3d.events import Event, Finished, RoundDone, RoundStarted, ViewDone
from sa3d.inverse_rendering import Evidence, Vote
from sa3d.loop_config import LoopConfig
from sa3d.mask_rendering import RenderedMask, agreement, render_mask
from sa3d.object_extent import Extent, own_surface
from sa3d.prompts import Prompt
from sa3d.scene import Scene
from sa3d.segmentation import ObjectSegmentation, ViewRecord
from sa3d.segmenter import PromptableSegmenter
from sa3d.self_prompting import self_prompt
from sa3d.user_prompts import segment_user_prompts
from sa3d.view_schedule import camera_distances, held_out_views, outward_order

DOUBT = 0.5
"""Evidence against elements out of reach, in units of the prior's weight: tips undecided ones."""


class ObjectLoop:
    """State of one object: its evidence and what every view says at present.

    Stopping between two events leaves a consistent state: :meth:`result` may be asked any time
    after the user's views were lifted.
    """

    def __init__(
        self,
        scene: Scene,
        segmenter: PromptableSegmenter,
        name: str,
        prompts: Sequence[Prompt],
        config: LoopConfig,
    ) -> None:
        self.scene, self.segmenter, self.name, self.config = scene, segmenter, name, config
        self.prompts = list(prompts)
        self.evidence = Evidence.none(len(scene.elements), scene.device)
        self.records: dict[int, ViewRecord] = {}
        self.rounds: list[RoundDone] = []
        self.finished: Finished | None = None
        self._votes: dict[int, Vote] = {}
        self._extent = Extent(torch.zeros(3), torch.zeros(3))
        self._far = torch.zeros(len(scene.elements), dtype=torch.bool, device=scene.device)
        self._appearance = AppearanceMemory(config.appearance_views)
        self._prompted = sorted({scene.view_index(prompt.view) for prompt in self.prompts})
        cameras = [view.camera for view in scene.views]
        self._distances = camera_distances(cameras)
        self._order = outward_order(cameras, self._prompted)
        self._held_out = held_out_views(self._order, config.held_out)

    def run(self) -> Iterator[Event]:
        """Lift the prompted views, then rounds over the others until converged.

        Raises:
            SA3DError: a prompted view shows nothing, or the object touches nothing in 3D.
        """
        yield from self._lift()
        states = [(dict(self.records), dict(self._votes))]
        while len(self.rounds) < self.config.convergence.max_rounds:
            yield from self._round(len(self.rounds) + 1)
            states.append((dict(self.records), dict(self._votes)))
            if is_converged(self.rounds, self.config.convergence):
                break
        chosen = best_round(self.rounds, self.config.convergence)
        if chosen < len(self.rounds):
            self._restore(*states[chosen])
        converged = is_converged(self.rounds, self.config.convergence)
        self.finished = Finished(
            object=self.name,
            converged=converged,
            rounds=len(self.rounds),
            chosen_round=chosen,
            verdict=verdict(self.rounds, chosen, converged),
        )
        yield self.finished

    def result(self) -> ObjectSegmentation:
        """The object as it stands."""
        return ObjectSegmentation(
            name=self.name,
            prompts=tuple(self.prompts),
            evidence=self._evidence_in_result(),
            views=dict(self.records),
            rounds=tuple(self.rounds),
            converged=self.finished is not None and self.finished.converged,
            verdict=self.finished.verdict if self.finished else "stopped before the end",
        )

    def _evidence_in_result(self) -> Evidence:
        """The evidence, with doubt about far elements as light as the prior is in the result."""
        total = self.evidence.total.clone()
        total[self._far] -= DOUBT * (self.config.prompt_prior_weight - self.config.prior_weight)
        return Evidence(self.evidence.object.clone(), total.clamp_min(0))

    def _lift(self) -> Iterator[Event]:
        for index in self._prompted:
            here = [p for p in self.prompts if self.scene.view_index(p.view) == index]
            self._encode(index)
            mask, score = segment_user_prompts(self.segmenter, self.scene.views[index], here)
            self._appearance.learn(self.segmenter, index, mask)
            self._cast(index, self._at_rays(mask, index), self.config.user_confidence)
            self.records[index] = ViewRecord(
                "prompted", 1.0, score, self.config.user_confidence, mask
            )
            yield ViewDone(
                self.name, 0, self.scene.views[index].name, "prompted", 1.0, score, "user's prompt"
            )
        if not self.evidence.labels(self.config.lam).any():
            raise SA3DError(
                f"the prompt for {self.name!r} lands on nothing: the NeRF has no density along the "
                "prompted pixels; prompt where the render shows a surface"
            )
        self._measure_lifted()
        self.evidence.total[self._far] += DOUBT * self.config.prompt_prior_weight

    def _round(self, number: int) -> Iterator[Event]:
        started = time.perf_counter()
        yield RoundStarted(self.name, number, len(self._order))
        before = self.evidence.labels(self.config.lam)
        outcomes = {i: r.outcome for i, r in self.records.items()}
        for index in self._order:
            vote = self._retract(index)
            record, reason = self._visit(index, vote)
            self.records[index] = record
            yield ViewDone(
                self.name,
                number,
                self.scene.views[index].name,
                record.outcome,
                record.agreement,
                record.score,
                reason,
            )
        changed = [i for i in self._order if self.records[i].outcome != outcomes.get(i)]
        done = self._summary(number, before, len(changed), time.perf_counter() - started)
        self.rounds.append(done)
        yield done

    def _visit(self, index: int, vote: Vote | None) -> tuple[ViewRecord, str]:
        """Prompt the segmenter with what the other views say, gate its answer, let it vote.

        ``vote`` is what the view said before; it is taken back already.
        """
        prepared = self.scene.prepared(index)
        camera = self.scene.views[index].camera
        rendered, shape = self._render(index), (prepared.camera.height, prepared.camera.width)
        probability = rendered.probability.reshape(shape).cpu()
        known = rendered.known.reshape(shape).cpu()
        prompt = self_prompt(
            probability,
            known,
            prepared.points_world,
            (camera.width, camera.height),
            self.config.prompting,
        )
        if prompt is None:
            return _no_mask(probability)
        self._encode(index)
        prediction = prompt.ask(self.segmenter)
        choice = choose(
            prediction,
            prepared,
            rendered,
            self._extent,
            max_gap=self.config.max_gap * self._extent.size,
            agreement_weight=self.config.agreement_weight,
        )
        if vote is not None:
            kept = agreement(vote.mask, rendered)
            if kept >= self.config.min_agreement and choice.agreement < kept + self.config.inertia:
                self._cast(index, vote.mask, float(vote.confidence[0]))
                reason = f"kept: IoU {kept:.2f} with the other views"
                return replace(self.records[index], agreement=kept), reason
        if choice.agreement < self.config.min_agreement:
            reason = f"IoU {choice.agreement:.2f} with the other views is under the gate"
            return ViewRecord("rejected", choice.agreement, choice.score, 0.0, choice.mask), reason
        if index in self._held_out:
            reason = "held out: measures, does not vote"
            return ViewRecord("held out", choice.agreement, choice.score, 0.0, choice.mask), reason
        confidence = _evidence_behind(probability, known)
        self._cast(index, self._at_rays(choice.mask, index), confidence)
        self._appearance.learn(self.segmenter, index, choice.mask)
        record = ViewRecord("accepted", choice.agreement, choice.score, confidence, choice.mask)
        reason = f"IoU {choice.agreement:.2f} with the other views; candidate {choice.candidate}"
        return record, reason

    def _render(self, index: int) -> RenderedMask:
        return render_mask(
            self.scene.prepared(index).operator,
            self.evidence,
            prior=self.config.prior,
            prior_weight=self.config.prompt_prior_weight,
        )

    def _at_rays(self, mask: np.ndarray, index: int) -> Tensor:
        """A mask [H, W] at operator resolution: share of each pixel covered, [R]."""
        return self.scene.prepared(index).at_rays(mask).to(self.scene.device)

    def _cast(self, index: int, mask: Tensor, confidence: float) -> None:
        self._put(index, Vote(mask, torch.full_like(mask, confidence)))

    def _put(self, index: int, vote: Vote) -> None:
        self._votes[index] = vote
        self.evidence.add(self.scene.prepared(index).operator, vote)

    def _retract(self, index: int) -> Vote | None:
        vote = self._votes.pop(index, None)
        if vote is not None:
            self.evidence.add(self.scene.prepared(index).operator, vote, sign=-1)
        return vote

    def _restore(self, records: dict[int, ViewRecord], votes: dict[int, Vote]) -> None:
        """Back to an earlier round: its votes, counted afresh."""
        self.records, self._votes = records, votes
        self.evidence = Evidence.none(len(self.scene.elements), self.scene.device)
        self.evidence.total[self._far] += DOUBT * self.config.prompt_prior_weight
        for index in sorted(votes):
            self.evidence.add(self.scene.prepared(index).operator, votes[index])

    def _measure_lifted(self) -> None:
        """Where the lifted object is, and the elements out of its reach."""
        surfaces = [
            own_surface(self.scene.prepared(index), self._votes[index].mask.cpu() > 0.5)
            for index in self._prompted
        ]
        self._extent = Extent.of(torch.cat(surfaces))
        grown = self._extent.grown(self.config.reach * self._extent.size)
        self._far = ~grown.contains(self.scene.elements.positions_world)
        for index in self._prompted:  # what shows through a handle: the user has no say there
            vote = self._retract(index)
            assert vote is not None
            near = grown.contains(self.scene.prepared(index).points_world.reshape(-1, 3))
            vote = Vote(vote.mask, vote.confidence * (near | (vote.mask < 0.5)).to(vote.confidence))
            self._put(index, vote)

    def _encode(self, index: int) -> None:
        """Make a view the segmenter's image, and tell it what nearby views taught."""
        self.scene.encode(index, self.segmenter)
        voters = sorted(
            (i for i in self._votes if i != index),
            key=lambda i: (i not in self._prompted, float(self._distances[index, i])),
        )
        self._appearance.show(self.segmenter, voters)

    def _summary(self, number: int, before: Tensor, changed: int, seconds: float) -> RoundDone:
        labels = self.evidence.labels(self.config.lam)
        of = {
            outcome: [r.agreement for i, r in self.records.items() if r.outcome == outcome]
            for outcome in ("accepted", "rejected", "held out")
        }
        return RoundDone(
            object=self.name,
            round=number,
            flips=int((labels != before).sum()),
            labelled=int(labels.sum()),
            accepted=len(of["accepted"]),
            rejected=len(of["rejected"]),
            agreement=_mean(of["accepted"]),
            unvoted_agreement=_mean(of["held out"]) if of["held out"] else None,
            prompt_agreement=_mean([self._prompt_agreement(index) for index in self._prompted]),
            changed_views=changed,
            seconds=seconds,
        )

    def _prompt_agreement(self, index: int) -> float:
        """IoU of the user's mask with what all the *other* views say about that view: drift."""
        vote = self._votes[index]
        self._retract(index)
        others = self._render(index)
        self._put(index, vote)
        said = (vote.confidence > 0).to(others.known)
        return agreement(vote.mask, replace(others, known=others.known * said))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _evidence_behind(probability: Tensor, known: Tensor) -> float:
    """How far a rendered mask rests on real evidence rather than on the prior, in [0.1, 1]."""
    share = float((probability * known).sum() / probability.sum().clamp_min(1e-6))
    return max(0.1, share)


def _no_mask(probability: Tensor) -> tuple[ViewRecord, str]:
    """The record of a view in which nothing is certain enough to prompt with."""
    if float(probability.max()) < 0.5:
        return ViewRecord("unseen", 0.0, 0.0, 0.0, None), "the object is not seen here so far"
    return ViewRecord("no prompt", 0.0, 0.0, 0.0, None), "no pixel is certain enough to prompt with"
