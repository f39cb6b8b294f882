"""One object's loop: lift the user's views, then self-prompt, segment, gate and vote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from sa3d.base.errors import SA3DError
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
    """Segments one object; ``state`` is all that changes on the way.

    Stopping between two events leaves a consistent state: ``result`` may be asked any time
    after the user's views were lifted, and ``rounds.run_rounds`` goes on from there.

    Attributes:
        state: see ``ObjectState``.
        distances: [V, V], how different the scene's cameras are.
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
        """Let the prompted views vote and get ready for rounds, unless that was done before.

        Raises:
            SA3DError: a prompted view shows nothing, or the object touches nothing in 3D.
        """
        if self.state.progress is None:
            for index in self.state.prompted:
                yield self.vote_by_prompts(index, 0)
            self.measure_lifted()
            self.begin_rounds()

    def measure_lifted(self) -> None:
        """Find where the prompted views, which have all voted, lift the object.

        Raises:
            SA3DError: the object touches nothing in 3D, or is smaller than a ray's pixel.
        """
        masks = [self.state.votes[index].mask for index in self.state.prompted]
        if not any(bool((mask > 0.5).any()) for mask in masks):
            raise SA3DError(
                f"what is marked of {self.name!r} is smaller than a ray's pixel: mark it in a view "
                "nearer to it, or prepare with a larger --prepare.ray-side"
            )
        if not self.state.evidence.labels(self.config.lam).any():
            raise SA3DError(
                f"the prompt for {self.name!r} lands on nothing: the NeRF has no density along the "
                "prompted pixels; prompt where the render shows a surface"
            )
        self.state.measure_extent()

    def begin_rounds(self) -> None:
        """Get ready for rounds over the views the user did not prompt; all prompted ones voted."""
        state = self.state
        order = outward_order([view.camera for view in self.scene.views], state.prompted)
        lifted = {i: r for i, r in state.records.items() if r.outcome == "prompted"}
        votes = {i: state.votes[i] for i in lifted}
        state.progress = Progress(
            order, len(state.rounds), [(lifted, votes, state.appearance.copy())]
        )
        state.finished = state.pending_views = None

    def finish(self, converged: bool, chosen_round: int, said: str) -> Finished:
        """Note the outcome, how well views agree and which ones to look at, and return it.

        Votes are counted afresh: one that was taken back leaves rounding errors behind, which tip
        elements that are undecided, and which a saved result does not have when it is resumed.
        """
        state, names = self.state, [view.name for view in self.scene.views]
        state.recount_votes(dict(state.votes))
        if (agreed := held_out_agreement(state.records)) is not None:
            said += f"; held-out agreement {agreed:.2f}"
        trusted = {names[i]: r.agreement for i, r in state.records.items() if r.mask is not None}
        limits = self.config.convergence
        looks = doubtful_views(trusted, limits), outside_note(state.share_outside_photos(), limits)
        said += "".join(f"; {look}" for look in looks if look)
        rounds = len(state.rounds)
        state.finished = Finished(self.name, converged, rounds, chosen_round, said)
        state.pending_views, state.progress = frozenset(), None
        return state.finished

    def result(self) -> ObjectResult:
        """The object as it stands."""
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
        """The evidence, doubt about far elements as light as the prior; made once per change."""
        seen, config = self.state.evidence.snapshot(), self.config
        if self._result_evidence is None or self._result_evidence[0] is not seen.total:
            doubt = DOUBT * (config.prompt_prior_weight - config.prior_weight)
            light = seen.total.add(self.state.out_of_reach, alpha=-doubt).clamp_min_(0)
            self._result_evidence = seen.total, Evidence(seen.object, light)
        return self._result_evidence[1].snapshot()

    def resume(self, one: ObjectResult) -> None:
        """Bring back the state that ended with this result, bit for bit: votes are cast again.

        Views prompted since are corrections still to be made; a lift that was stopped begins anew.
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
        state.pending_views = waiting

    def vote_by_prompts(
        self,
        index: int,
        number: int,
        before: np.ndarray | None = None,
        *,
        cautious: bool = False,
    ) -> ViewDone:
        """Let a view the user prompted vote, in round ``number``.

        Args:
            before: [H, W] in [0, 1], the mask the user saw and corrects.
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
        """Let a view, the segmenter's current image, vote for a mask [H, W] bool of the user's."""
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
        """The mask [H, W] that prompts of a view ask for, and its predicted IoU; changes nothing.

        Clicks alone do not tell a segmenter without weights how large the object is: what stands
        out there does (``sa3d.voting.clicked_surface``).

        Args:
            before: [H, W] in [0, 1], the mask the user saw and corrects; the third result then
                tells where the correction overrules it, bool [H, W].
            cautious: see ``segment_user_prompts``.

        Raises:
            SA3DError: the segmenter finds nothing at the prompt.
        """
        here = [p for p in prompts if self.scene.view_index(p.view) == index]
        known = before
        if (before is None or not (before > 0.5).any()) and isinstance(
            self.segmenter, LearnsAppearance
        ):
            known = clicked_surface(self.scene, index, here)
            cautious = True  # there are no other views yet that could assent
        self.encode(index)
        mask, score = segment_user_prompts(
            self.segmenter, self.scene.views[index], here, known, cautious=cautious
        )
        if before is None:
            return mask, score, None
        corrected = corrected_parts(before > 0.5, mask, here)
        if not (before > 0.5).any() and not corrected.any():
            raise nothing_found_error(self.segmenter, self.scene.views[index], here)
        return (before > 0.5) ^ corrected, score, corrected

    def view_done(self, index: int, number: int) -> ViewDone:
        """A view's record as an event of round ``number``."""
        name, r = self.scene.views[index].name, self.state.records[index]
        return ViewDone(self.name, number, name, r.outcome, r.agreement, r.score, r.reason)

    def confidence(self, probability: Tensor, known: Tensor) -> float:
        """How much a view's vote counts: how far its prompts, a rendered mask [h, w], rest on real
        evidence, ``known`` [h, w], rather than on the prior; in [0.1, 1]."""
        share = float((probability * known).sum() / probability.sum().clamp_min(1e-6))
        return max(0.1, share)

    def encode(self, index: int) -> None:
        """Make a view the segmenter's image, and tell it what nearby views taught."""
        self.scene.encode(index, self.segmenter)
        self.show_appearance(index)

    def show_appearance(self, index: int) -> None:
        """Tell the segmenter, whose image is view ``index``, what nearby views taught."""
        prompted, distances = self.state.prompted, self.distances[index].tolist()
        voters = sorted(
            (i for i in self.state.votes if i != index),
            key=lambda i: (i not in prompted, distances[i]),
        )
        self.state.appearance.show(self.segmenter, voters)

    def end_round(self, number: int, before: Tensor, changed: int, seconds: float) -> RoundDone:
        """Note how a round ended that began with labels ``before`` [N], and return it."""
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
