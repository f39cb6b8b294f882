"""Loop of one object: votes of prompted views, bookkeeping of rounds, and the result.

Rounds over the other views are in ``sa3d.loop.rounds``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.base.sums import ordered_sum
from sa3d.geometry.view_schedule import camera_distances, held_out_views, outward_order
from sa3d.loop.config import LoopConfig
from sa3d.loop.convergence import best_tenth, doubtful_views, outside_note
from sa3d.loop.object_state import DOUBT, ObjectState, Progress
from sa3d.objects.events import Event, Finished, RoundDone, ViewDone
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ObjectResult, ViewRecord, held_out_agreement
from sa3d.scene.scene import Scene
from sa3d.segmenters.protocol import LearnsAppearance, PromptableSegmenter
from sa3d.voting.clicked_surface import clicked_surface
from sa3d.voting.user_prompts import corrected_parts, nothing_found_error, segment_user_prompts


class ObjectLoop:
    """Loop that segments one object; everything that changes is in ``state``.

    The state is consistent between any two events: ``result`` may be called any time after
    ``lift``, and ``rounds.run_rounds`` continues from there.

    Attributes:
        scene: the prepared scene.
        segmenter: the 2D segmenter.
        name: the object's name.
        config: the loop's settings.
        state: see ``ObjectState``.
        distances: [V, V], differences between the scene's cameras.
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
        self.state = ObjectState.fresh(scene, config, prompts)
        self._result_evidence: tuple[Tensor, Evidence] | None = None
        cameras = [view.camera for view in scene.views]
        self.distances = camera_distances(cameras)
        order = outward_order(cameras, self.state.prompted)
        self.state.held_out = held_out_views(order, config.held_out)

    def lift(self) -> Iterator[Event]:
        """Lift the object: cast the votes of the prompted views, unless they were cast before.

        Raises:
            SA3DError: the segmenter finds nothing at a prompt, or see ``measure_lifted``.
        """
        if self.state.progress is None:
            for index in self.state.prompted:
                yield self.vote_by_prompts(index, 0)
            self.measure_lifted()
            self.begin_rounds()

    def measure_lifted(self) -> None:
        """Measure the extent of the lifted object, after all prompted views have voted.

        Raises:
            SA3DError: the object covers no element, or is smaller than a ray's pixel.
        """
        masks = [self.state.votes[index].mask for index in self.state.prompted]
        if not any(bool((mask > 0.5).any()) for mask in masks):
            raise SA3DError(
                f"what is marked of {self.name!r} is smaller than a ray's pixel: mark it in a view "
                "nearer to it, or prepare with a larger 'prepare.ray_side'"
            )
        if not self.state.evidence.labels(self.config.lam).any():
            raise SA3DError(
                f"the prompt for {self.name!r} lands on nothing: the field has no density along "
                "the prompted pixels; prompt where the render shows a surface"
            )
        self.state.measure_extent()

    def begin_rounds(self) -> None:
        """Prepare rounds over the other views, after all prompted views have voted."""
        state = self.state
        order = outward_order([view.camera for view in self.scene.views], state.prompted)
        lifted = {i: r for i, r in state.records.items() if r.outcome == "prompted"}
        votes = {i: state.votes[i] for i in lifted}
        state.progress = Progress(
            order, len(state.rounds), [(lifted, votes, state.appearance.copy())]
        )
        state.finished = state.pending_views = state.uncorrected = None

    def finish(self, converged: bool, chosen_round: int, verdict: str) -> Finished:
        """Record and return the outcome, with held-out agreement and doubtful views in its verdict.

        All votes are counted again, because a retracted vote leaves rounding errors. They would
        decide undecided elements, and a saved result that is resumed would not have them.
        """
        state, names = self.state, [view.name for view in self.scene.views]
        state.recount_votes(dict(state.votes))
        if (agreed := held_out_agreement(state.records)) is not None:
            verdict += f"; held-out agreement {agreed:.2f}"
        agreements = {names[i]: r.agreement for i, r in state.records.items() if r.mask is not None}
        limits = self.config.convergence
        remarks = (
            doubtful_views(agreements, limits),
            outside_note(state.share_outside_photos(), limits),
        )
        verdict += "".join(f"; {remark}" for remark in remarks if remark)
        rounds = len(state.rounds)
        state.finished = Finished(self.name, converged, rounds, chosen_round, verdict)
        state.pending_views, state.progress, state.uncorrected = frozenset(), None, None
        return state.finished

    def result(self) -> ObjectResult:
        """Return the object in its present state."""
        state, finished = self.state, self.state.finished
        return ObjectResult(
            name=self.name,
            prompts=tuple(state.prompts),
            evidence=self._evidence_in_result(),
            views=dict(state.records),
            rounds=tuple(state.rounds),
            converged=finished is not None and finished.converged,
            verdict=finished.verdict if finished else "stopped before the end",
            kept_round=finished.chosen_round if finished else len(state.rounds),
            held_out=state.held_out,
        )

    def _evidence_in_result(self) -> Evidence:
        """Return the evidence; scale the doubt to the weight of the result's prior."""
        seen, config = self.state.evidence.snapshot(), self.config
        if self._result_evidence is None or self._result_evidence[0] is not seen.total:
            doubt = DOUBT * (config.prompt_prior_weight - config.prior_weight)
            light = seen.total.add(self.state.out_of_reach, alpha=-doubt).clamp_min_(0)
            self._result_evidence = seen.total, Evidence(seen.object, light)
        return self._result_evidence[1].snapshot()

    def resume(self, one: ObjectResult) -> None:
        """Restore the state of a result, bit for bit, by casting its votes again.

        Views that were prompted after the object had finished are pending corrections. A lift that
        was stopped begins again.
        """
        state = self.state
        lifted = {index for index, record in one.views.items() if record.outcome == "prompted"}
        waiting = frozenset(state.prompted) - lifted
        if waiting and not one.rounds and len(lifted) == len(one.views):
            return
        state.records, state.rounds = dict(one.views), list(one.rounds)
        state.held_out = one.held_out
        for index, record in sorted(one.views.items()):
            if record.mask is None or record.outcome not in ("prompted", "accepted"):
                continue
            if isinstance(self.segmenter, LearnsAppearance):
                self.scene.encode(index, self.segmenter)
                state.appearance.learn(self.segmenter, index, record.mask)
            state.cast_vote(index, state.vote_of(index))
        state.measure_extent()
        state.recount_votes(dict(state.votes))
        kept = 0 if len(lifted) == len(one.views) else one.kept_round or len(state.rounds)
        state.finished = Finished(self.name, one.converged, len(state.rounds), kept, one.verdict)
        state.pending_views = frozenset()
        if waiting:
            views = [self.scene.view_index(prompt.view) for prompt in state.prompts]
            state.uncorrected = state.copy()
            state.uncorrected.prompts = [
                prompt for i, prompt in zip(views, state.prompts, strict=True) if i not in waiting
            ]
            state.pending_views = waiting

    def vote_by_prompts(
        self,
        index: int,
        number: int,
        before: np.ndarray | None = None,
        *,
        cautious: bool = False,
    ) -> ViewDone:
        """Segment a prompted view and cast its vote, in round ``number``.

        Args:
            before: [H, W] in [0, 1], the mask that the prompts correct.
            cautious: see ``segment_user_prompts``.

        Raises:
            SA3DError: the segmenter finds nothing at the prompt.
        """
        state = self.state
        mask, score, corrected = self.mask_from_prompts(
            index, state.prompts, before, cautious=cautious
        )
        if corrected is not None:
            earlier = state.records.get(index)
            if earlier is not None and earlier.corrected is not None:
                corrected |= earlier.corrected & (earlier.mask == mask)
        self.vote_with_mask(index, mask, score, corrected)
        return self.view_done(index, number)

    def vote_with_mask(
        self, index: int, mask: np.ndarray, score: float, corrected: np.ndarray | None = None
    ) -> None:
        """Cast a prompted view's vote for a mask [H, W] bool; the segmenter's image is the view."""
        state = self.state
        state.appearance.learn(self.segmenter, index, mask)
        state.retract_vote(index)
        confidence = self.config.user_confidence
        reason = "user's prompt" if corrected is None else "user's correction"
        state.records[index] = ViewRecord(
            "prompted", 1.0, score, confidence, mask, corrected, reason
        )
        state.cast_vote(index, state.vote_of(index))

    def mask_from_prompts(
        self,
        index: int,
        prompts: Sequence[Prompt],
        before: np.ndarray | None = None,
        *,
        cautious: bool = False,
    ) -> tuple[np.ndarray, float, np.ndarray | None]:
        """Segment a view by prompts, without changing the state.

        A segmenter without weights cannot find out from points how large the object is. So its
        points are completed with the surface that stands out there, see
        ``sa3d.voting.clicked_surface``.

        Args:
            index: the view.
            prompts: of the object, in any views; those of other views are ignored.
            before: [H, W] in [0, 1], the mask that the prompts correct.
            cautious: see ``segment_user_prompts``.

        Returns:
            The mask [H, W] bool, its predicted IoU, and where the correction overrules ``before``,
            bool [H, W], or None without ``before``.

        Raises:
            SA3DError: the segmenter finds nothing at the prompt.
        """
        here = [p for p in prompts if self.scene.view_index(p.view) == index]
        start = before
        if (before is None or not (before > 0.5).any()) and isinstance(
            self.segmenter, LearnsAppearance
        ):
            start = clicked_surface(self.scene, index, here)
            cautious = True  # there are no other views yet that could agree
        self.encode(index)
        mask, score = segment_user_prompts(
            self.segmenter, self.scene.views[index], here, start, cautious=cautious
        )
        if before is None:
            return mask, score, None
        corrected = corrected_parts(before > 0.5, mask, here)
        if not (before > 0.5).any() and not corrected.any():
            raise nothing_found_error(self.segmenter, self.scene.views[index], here)
        return (before > 0.5) ^ corrected, score, corrected

    def view_done(self, index: int, number: int) -> ViewDone:
        """Return a view's record as an event of round ``number``."""
        name, r = self.scene.views[index].name, self.state.records[index]
        return ViewDone(self.name, number, name, r.outcome, r.agreement, r.score, r.reason)

    def confidence(self, probability: Tensor, known: Tensor) -> float:
        """Return the confidence of a view's vote, in [0.1, 1].

        The confidence is the share of the rendered mask that rests on evidence, not on the prior.

        Args:
            probability: [h, w], the rendered mask that the prompts were made of.
            known: [h, w], see ``RenderedMask``.
        """
        share = ordered_sum(probability * known) / max(ordered_sum(probability), 1e-6)
        return max(0.1, share)

    def encode(self, index: int) -> None:
        """Make a view the segmenter's image; give it the object's appearance in near views."""
        self.scene.encode(index, self.segmenter)
        self.show_appearance(index)

    def show_appearance(self, index: int) -> None:
        """Give the segmenter the object's appearance in the views nearest to view ``index``."""
        prompted, distances = self.state.prompted, self.distances[index].tolist()
        voters = sorted(
            (i for i in self.state.votes if i != index),
            key=lambda i: (i not in prompted, distances[i]),
        )
        self.state.appearance.show(self.segmenter, voters)

    def end_round(self, number: int, before: Tensor, changed: int, seconds: float) -> RoundDone:
        """Record and return the report of a round.

        Args:
            number: of the round, from 1.
            before: bool [N], the object's elements when the round began.
            changed: see ``RoundDone.changed_views``.
            seconds: duration of the round.
        """
        labels = self.state.evidence.labels(self.config.lam)
        of = {
            outcome: [r.agreement for i, r in self.state.records.items() if r.outcome == outcome]
            for outcome in ("accepted", "rejected", "held out")
        }
        done = RoundDone(
            object=self.name,
            round=number,
            flips=int((labels != before).sum()),
            labelled=int(labels.sum()),
            accepted=len(of["accepted"]),
            rejected=len(of["rejected"]),
            agreement=_mean(of["accepted"]),
            unvoted_agreement=_mean(of["held out"]) if of["held out"] else None,
            prompt_agreement=_mean([self.state.prompt_agreement(i) for i in self.state.prompted]),
            changed_views=changed,
            seconds=seconds,
            best_agreement=best_tenth([*of["accepted"], *of["held out"]]),
        )
        self.state.rounds.append(done)
        return done


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
