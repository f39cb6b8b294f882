"""State of one object while it is segmented; it can be copied and restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from sa3d.base.sums import ordered_sum
from sa3d.loop.config import LoopConfig
from sa3d.objects.events import Finished, RoundDone
from sa3d.objects.inverse_rendering import Evidence, Vote, evidence_of_others
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ViewRecord
from sa3d.scene.scene import Scene
from sa3d.voting.appearance import AppearanceMemory
from sa3d.voting.extent import Extent, beyond_clear_edges, object_surface
from sa3d.voting.mask_rendering import (
    RenderedMask,
    agreement,
    at_photo_size,
    render_mask,
    render_masks,
)

DOUBT = 0.5
"""Evidence against elements out of reach, in units of the prior's weight. Elements without other
votes become background."""


@dataclass
class Progress:
    """Progress of the rounds, so that they can be stopped and continued.

    Attributes:
        order: the views of a round, in the order of visits.
        earlier_rounds: number of the object's rounds before this progress began.
        snapshots: records, votes and appearance before the first round (of prompted views only),
            and after each round since.
        position: number of views visited in the present round.
        labels_before: bool [N], the object's elements when the round began; None between rounds.
        voters_before: the views that had a vote when the round began, by index.
        seconds: time spent on the round.
    """

    order: Sequence[int]
    earlier_rounds: int
    snapshots: list[tuple[dict[int, ViewRecord], dict[int, Vote], AppearanceMemory]]
    position: int = 0
    labels_before: Tensor | None = None
    voters_before: frozenset[int] = frozenset()
    seconds: float = 0.0

    @property
    def next_view(self) -> int:
        """Index of the view to visit next in the present round."""
        return self.order[self.position]

    def copy(self) -> Progress:
        """Return a copy; changes of one do not affect the other."""
        return replace(self, snapshots=list(self.snapshots))


@dataclass
class ObjectState:
    """State of one object.

    Attributes:
        prompts: the user's prompts.
        evidence: all votes, and the doubt about elements out of reach.
        appearance: samples of the object's appearance in the views that voted.
        extent: extent of the lifted object, from the prompted views.
        out_of_reach: bool [N], elements out of the object's reach, or beyond an edge of a photo
            that its mask does not touch.
        held_out: indices of the held-out views.
        records: a record of each visited view, by index.
        votes: the votes, by view index; a view has at most one.
        rounds: the reports of all rounds.
        finished: the outcome; None until the loop has finished.
        pending_views: views whose prompts changed since the loop finished; None before that.
        uncorrected: the state before the prompts of ``pending_views`` changed; None without those.
        progress: progress of the rounds; None before the first round and after the last.
        split_from: name of the object that this object is being split off from; otherwise None.
    """

    scene: Scene
    config: LoopConfig
    prompts: list[Prompt]
    evidence: Evidence
    appearance: AppearanceMemory
    extent: Extent
    out_of_reach: Tensor
    held_out: frozenset[int] = frozenset()
    records: dict[int, ViewRecord] = field(default_factory=dict)
    votes: dict[int, Vote] = field(default_factory=dict)
    rounds: list[RoundDone] = field(default_factory=list)
    finished: Finished | None = None
    pending_views: frozenset[int] | None = None
    uncorrected: ObjectState | None = None
    progress: Progress | None = None
    split_from: str | None = None

    @classmethod
    def fresh(cls, scene: Scene, config: LoopConfig, prompts: Sequence[Prompt]) -> ObjectState:
        """Return the state of an object without votes."""
        return cls(
            scene=scene,
            config=config,
            prompts=list(prompts),
            evidence=Evidence.zeros(len(scene.elements), scene.device),
            appearance=AppearanceMemory(config.appearance_views),
            extent=Extent(torch.zeros(3), torch.zeros(3)),
            out_of_reach=torch.zeros(len(scene.elements), dtype=torch.bool, device=scene.device),
        )

    def copy(self) -> ObjectState:
        """Return a copy; changes of one do not affect the other."""
        return replace(
            self,
            prompts=list(self.prompts),
            evidence=self.evidence.snapshot(),
            appearance=self.appearance.copy(),
            records=dict(self.records),
            votes=dict(self.votes),
            rounds=list(self.rounds),
            progress=self.progress and self.progress.copy(),
        )

    def renamed(self, name: str) -> ObjectState:
        """Return a copy in which the object has another name."""
        state = self.copy()
        state.prompts = [replace(prompt, object=name) for prompt in state.prompts]
        state.rounds = [replace(done, object=name) for done in state.rounds]
        state.finished = state.finished and replace(state.finished, object=name)
        state.uncorrected = state.uncorrected and state.uncorrected.renamed(name)
        return state

    @property
    def begun(self) -> bool:
        """True once the object was lifted; prompts added since then are corrections."""
        return self.progress is not None or self.finished is not None

    @property
    def unfinished(self) -> bool:
        """True if ``Session.run`` has something left to do for the object."""
        return self.finished is None or bool(self.pending_views) or self.split_from is not None

    def change_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Replace the prompts, and mark the views in which they changed as pending.

        If a prompt was removed from a view, its vote and record are removed at once.
        """
        if not self.pending_views:
            self.uncorrected = self.copy()
        removed, added = _without(self.prompts, prompts), _without(prompts, self.prompts)
        views = {self.scene.view_index(prompt.view) for prompt in [*removed, *added]}
        for index in {self.scene.view_index(prompt.view) for prompt in removed}:
            self.retract_vote(index)
            self.records.pop(index, None)
        self.prompts = list(prompts)
        self.pending_views = (self.pending_views or frozenset()) | views

    @property
    def prompted(self) -> list[int]:
        """Indices of the prompted views, ascending."""
        return sorted({self.scene.view_index(prompt.view) for prompt in self.prompts})

    @property
    def doubt(self) -> float:
        """Amount of evidence against an element out of reach."""
        return DOUBT * self.config.prompt_prior_weight

    def cast_vote(self, index: int, vote: Vote) -> None:
        """Cast a view's vote; the view must not have one yet."""
        self.votes[index] = vote
        self.evidence.add(self.scene.prepared(index).operator, vote)

    def retract_vote(self, index: int) -> Vote | None:
        """Retract and return a view's vote; None if the view has no vote."""
        vote = self.votes.pop(index, None)
        if vote is not None:
            self.evidence.add(self.scene.prepared(index).operator, vote, sign=-1)
        return vote

    def recount_votes(self, votes: Mapping[int, Vote]) -> None:
        """Compute the evidence from these votes alone."""
        self.votes = {}
        self.evidence = Evidence.zeros(len(self.scene.elements), self.scene.device)
        self.evidence.add_to_total(self.out_of_reach, self.doubt)
        for index in sorted(votes):
            self.cast_vote(index, votes[index])

    def share_outside_photos(self) -> float:
        """Return the share of the object's evidence that lies outside the prompted photos."""
        labels = self.evidence.labels(self.config.lam)
        light = self.evidence.object[labels].cpu()
        points = self.scene.elements.positions_world[labels].cpu()
        cameras = [self.scene.views[index].camera for index in self.prompted]
        framed = torch.stack([camera.in_image(points) for camera in cameras]).any(dim=0)
        return ordered_sum(light[~framed]) / max(ordered_sum(light), 1e-9)

    def vote_of(self, index: int) -> Vote:
        """Return the vote of a prompted or accepted view, from its record."""
        record = self.records[index]
        assert record.mask is not None
        mask = self.mask_to_rays(index, record.mask)
        confidence = torch.tensor(record.confidence, device=mask.device)
        if record.outcome == "prompted" and self.extent.size > 0:
            points = self.scene.prepared(index).points_world.reshape(-1, 3)
            near = self._reach().contains(points).to(mask.device)
            confidence = confidence * (near | (mask < 0.5))
        if record.corrected is not None:
            overruled = self.mask_to_rays(index, record.corrected) > 0.5
            confidence = torch.where(overruled, self.config.correction_confidence, confidence)
        return Vote(mask, confidence)

    def render(self, index: int) -> RenderedMask:
        """Render the object's mask in a view."""
        return render_mask(
            self.scene.prepared(index).operator,
            self.evidence,
            prior=self.config.prior,
            prior_weight=self.config.prompt_prior_weight,
        )

    def render_others(self, index: int) -> RenderedMask:
        """Render the object's mask in a view from the other views' votes alone."""
        operator = self.scene.prepared(index).operator
        seen = evidence_of_others(operator, [self.evidence], [self.votes.get(index)])
        config = self.config
        (rendered,) = render_masks(
            operator, seen, prior=config.prior, prior_weight=config.prompt_prior_weight
        )
        return rendered

    def prompt_agreement(self, index: int) -> float:
        """Return the agreement of a prompted view's mask with the other views."""
        vote, others = self.votes[index], self.render_others(index)
        counted = (vote.confidence > 0).to(others.known)
        return agreement(vote.mask, replace(others, known=others.known * counted))

    def mask(self, index: int) -> np.ndarray:
        """Return the mask [H, W] bool that a view voted for; without a vote, the rendered mask."""
        if index in self.votes and (voted := self.records[index].mask) is not None:
            return voted
        return at_photo_size(self.scene, index, self.render(index).probability) > 0.5

    def measure_extent(self) -> None:
        """Measure the object's extent in the prompted views, and find the elements out of reach.

        A box or a drawn mask shows where the object ends; points do not. The votes of the prompted
        views are cast again, without pixels that show something behind the object through a hole
        in the object, such as a handle.
        """
        prompted = sorted(i for i, r in self.records.items() if r.outcome == "prompted")
        masks = {index: self.votes[index].mask.cpu() > 0.5 for index in prompted}
        surfaces = [
            object_surface(self.scene.prepared(index), mask)
            for index, mask in masks.items()
            if mask.any()
        ]
        if surfaces:
            self.extent = Extent.of(torch.cat(surfaces))
        self.evidence.add_to_total(self.out_of_reach, -self.doubt)
        points = self.scene.elements.positions_world
        self.out_of_reach = ~self._reach().contains(points)
        bounded = [p for p in self.prompts if p.box is not None or p.mask is not None]
        for index in {self.scene.view_index(p.view) for p in bounded}.intersection(prompted):
            mask, camera = self.records[index].mask, self.scene.views[index].camera
            assert mask is not None
            self.out_of_reach |= beyond_clear_edges(camera, mask, points)
        self.evidence.add_to_total(self.out_of_reach, self.doubt)
        for index in prompted:
            self.retract_vote(index)
            self.cast_vote(index, self.vote_of(index))

    def _reach(self) -> Extent:
        return self.extent.grown(self.config.reach * self.extent.size)

    def mask_to_rays(self, index: int, mask: np.ndarray) -> Tensor:
        """Return the share of each ray's pixel that a mask [H, W] covers: [R]."""
        return self.scene.prepared(index).mask_to_rays(mask).to(self.scene.device)


def _without(prompts: Sequence[Prompt], others: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts that are not in ``others``, by identity: equal prompts may occur twice."""
    excluded = {id(prompt) for prompt in others}
    return [prompt for prompt in prompts if id(prompt) not in excluded]
