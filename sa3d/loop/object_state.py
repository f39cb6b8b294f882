"""All that changes while one object is segmented, so that it can be copied and brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from sa3d.loop.config import LoopConfig
from sa3d.objects.events import Finished, Outcome, RoundDone
from sa3d.objects.inverse_rendering import Evidence, Vote
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ViewRecord
from sa3d.scene.scene import Scene
from sa3d.voting.appearance import AppearanceMemory
from sa3d.voting.extent import Extent, beyond_clear_edges, object_surface
from sa3d.voting.mask_rendering import RenderedMask, agreement, at_photo_size, render_mask

DOUBT = 0.5
"""Evidence against elements out of reach, in units of the prior's weight: tips undecided ones."""


@dataclass
class Progress:
    """How far the rounds have come, so that they can be stopped and gone on with.

    Attributes:
        order: the views of a round.
        earlier: rounds of the object before the first of these.
        kept: records, votes and appearance before the first round, with those of prompted views
            only, and after each since.
        position: views of the present round that are done.
        labels: bool [N], elements labelled object when it began; None between rounds.
        outcomes: of the views at that time, by index.
        seconds: spent on it.
    """

    order: Sequence[int]
    earlier_rounds: int
    snapshots: list[tuple[dict[int, ViewRecord], dict[int, Vote], AppearanceMemory]]
    position: int = 0
    labels_before: Tensor | None = None
    outcomes_before: Mapping[int, Outcome] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def next_view(self) -> int:
        """The view to be visited next in the present round."""
        return self.order[self.position]

    def copy(self) -> Progress:
        """A copy that shares nothing that is changed in place."""
        return replace(self, snapshots=list(self.snapshots))


@dataclass
class ObjectState:
    """What is known of one object.

    Attributes:
        prompts: the user's.
        evidence: of all votes, and the doubt about elements out of reach.
        appearance: what it looks like in the views that voted.
        extent: where the prompted views lifted it.
        far: bool [N], elements out of its reach, or beyond an edge of a photo that it leaves clear.
        held_out: views that measure and never vote.
        records: what every view said, by index.
        votes: how it counted; a view votes at most once.
        rounds: the report.
        finished: the outcome, None until there is one.
        waiting: views whose prompts changed since; None: all is still to be done.
        progress: of the rounds; None before the first and when they are finished.
        whole: name of the object this one was split off from, until that has let go of it.
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
    progress: Progress | None = None
    split_from: str | None = None

    @classmethod
    def fresh(cls, scene: Scene, config: LoopConfig, prompts: Sequence[Prompt]) -> ObjectState:
        """Nobody has said anything yet."""
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
        """A copy that shares nothing that is changed in place."""
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
        """A copy of which all parts call the object by another name."""
        state = self.copy()
        state.prompts = [replace(prompt, object=name) for prompt in state.prompts]
        state.rounds = [replace(done, object=name) for done in state.rounds]
        state.finished = state.finished and replace(state.finished, object=name)
        return state

    @property
    def begun(self) -> bool:
        """Whether its prompted views were lifted: then other prompts correct what is there."""
        return self.progress is not None or self.finished is not None

    @property
    def unfinished(self) -> bool:
        """Whether something is left to be done about it."""
        return self.finished is None or bool(self.pending_views) or self.split_from is not None

    def change_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Take these prompts, and note in which views they are not those there were.

        Where one was taken back, what the view said because of it goes at once.
        """
        gone, new = _without(self.prompts, prompts), _without(prompts, self.prompts)
        views = {self.scene.view_index(prompt.view) for prompt in [*gone, *new]}
        for index in {self.scene.view_index(prompt.view) for prompt in gone}:
            self.retract_vote(index)
            self.records.pop(index, None)
        self.prompts = list(prompts)
        self.pending_views = (self.pending_views or frozenset()) | views

    @property
    def prompted(self) -> list[int]:
        """Indices of the views the user prompted, ascending."""
        return sorted({self.scene.view_index(prompt.view) for prompt in self.prompts})

    @property
    def doubt(self) -> float:
        """Evidence against an element out of reach."""
        return DOUBT * self.config.prompt_prior_weight

    def cast_vote(self, index: int, vote: Vote) -> None:
        """Count a view's vote; it must have none."""
        self.votes[index] = vote
        self.evidence.add(self.scene.prepared(index).operator, vote)

    def retract_vote(self, index: int) -> Vote | None:
        """Take a view's vote back, if it has one."""
        vote = self.votes.pop(index, None)
        if vote is not None:
            self.evidence.add(self.scene.prepared(index).operator, vote, sign=-1)
        return vote

    def recount_votes(self, votes: Mapping[int, Vote]) -> None:
        """Count these votes afresh."""
        self.votes = {}
        self.evidence = Evidence.zeros(len(self.scene.elements), self.scene.device)
        self.evidence.add_to_total(self.out_of_reach, self.doubt)
        for index in sorted(votes):
            self.cast_vote(index, votes[index])

    def share_outside_photos(self) -> float:
        """Share of the object's evidence on what lies outside the pictures of prompted views."""
        labels = self.evidence.labels(self.config.lam)
        light = self.evidence.object[labels].cpu()
        points = self.scene.elements.positions_world[labels].cpu()
        cameras = [self.scene.views[index].camera for index in self.prompted]
        framed = torch.stack([camera.in_image(points) for camera in cameras]).any(dim=0)
        return float(light[~framed].sum() / light.sum().clamp_min(1e-9))

    def vote_of(self, index: int) -> Vote:
        """The vote that the record of a prompted or accepted view casts."""
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
        """The mask that the evidence shows in a view."""
        return render_mask(
            self.scene.prepared(index).operator,
            self.evidence,
            prior=self.config.prior,
            prior_weight=self.config.prompt_prior_weight,
        )

    def prompt_agreement(self, index: int) -> float:
        """IoU of the user's mask with what all the *other* views say about that view: drift."""
        vote = self.retract_vote(index)
        assert vote is not None
        others = self.render(index)
        self.cast_vote(index, vote)
        said = (vote.confidence > 0).to(others.known)
        return agreement(vote.mask, replace(others, known=others.known * said))

    def mask(self, index: int) -> np.ndarray:
        """The mask [H, W] bool a view voted for; else what all others show there."""
        if index in self.votes and (voted := self.records[index].mask) is not None:
            return voted
        return at_photo_size(self.scene, index, self.render(index).probability) > 0.5

    def measure_extent(self) -> None:
        """Find where the prompted views lift the object, and which elements are out of its reach.

        A box or a painted mask tells where the object ends, clicks do not. The votes are cast anew:
        on what shows through a handle the user has no say.
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
        told = [p for p in self.prompts if p.box is not None or p.mask is not None]
        for index in {self.scene.view_index(p.view) for p in told}.intersection(prompted):
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
        """A mask [H, W] at operator resolution: share of each pixel covered, [R]."""
        return self.scene.prepared(index).mask_to_rays(mask).to(self.scene.device)


def _without(prompts: Sequence[Prompt], others: Sequence[Prompt]) -> list[Prompt]:
    """The prompts that are not among others: these very ones, as equal ones may be there twice."""
    known = {id(prompt) for prompt in others}
    return [prompt for prompt in prompts if id(prompt) not in known]
