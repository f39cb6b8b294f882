"""Segmentation: evidence per element and a record per view, for K objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.objects.colors import Color, checked_color, object_colors
from sa3d.objects.events import Outcome, RoundDone
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.names import check_new_name
from sa3d.objects.prompts import Prompt, prompts_in_views
from sa3d.scene.elements import Elements
from sa3d.scene.scene import Scene

BACKGROUND = -1
"""Label of elements that belong to no object."""


@dataclass(frozen=True)
class ViewRecord:
    """Record of one view's last visit for one object.

    Attributes:
        outcome: of the visit, see ``Outcome``.
        agreement: IoU with the mask rendered from the other views' votes.
        score: the mask's predicted IoU.
        confidence: of the view's vote; 0 if there is no vote.
        mask: [H, W] bool, the segmenter's mask at the photo's size; None without a self-prompt.
        corrected: [H, W] bool, where the user's correction overrules all other views; None if
            there is no such place.
        reason: the reason for the outcome, in words.
    """

    outcome: Outcome
    agreement: float
    score: float
    confidence: float
    mask: np.ndarray | None = None
    corrected: np.ndarray | None = None
    reason: str = ""


@dataclass(frozen=True)
class ObjectResult:
    """Result of one object.

    Attributes:
        name: of the object.
        prompts: of the user, in the order they were given.
        evidence: over the scene's elements.
        views: the views' records, by index.
        rounds: the reports of all rounds.
        converged, verdict: see ``Finished``.
        kept_round: see ``Finished.chosen_round``.
        color: None for the color of the object's place, see ``Segmentation.colors``.
        held_out: indices of the views that never vote.
    """

    name: str
    prompts: Sequence[Prompt]
    evidence: Evidence
    views: dict[int, ViewRecord]
    rounds: Sequence[RoundDone]
    converged: bool
    verdict: str
    kept_round: int = 0
    color: Color | None = None
    held_out: frozenset[int] = frozenset()

    def prompts_in(self, view: str) -> list[Prompt]:
        """Return the prompts in the view of this name."""
        return [prompt for prompt in self.prompts if prompt.view == view]

    def renamed(self, name: str) -> ObjectResult:
        """Return the object under another name."""
        prompts = tuple(replace(prompt, object=name) for prompt in self.prompts)
        rounds = tuple(replace(done, object=name) for done in self.rounds)
        return replace(self, name=name, prompts=prompts, rounds=rounds)

    @property
    def held_out_agreement(self) -> float | None:
        """The held-out agreement; see the function ``held_out_agreement``."""
        return held_out_agreement(self.views)


def held_out_agreement(views: Mapping[int, ViewRecord]) -> float | None:
    """Return the agreement that three quarters of the accepted and held-out views reach.

    Of all numbers that were measured, this quartile ranks results best (docs/stop.md).

    Args:
        views: the records, by view index.

    Returns:
        None if no view was accepted or held out.
    """
    asked = [r for r in views.values() if r.outcome in ("accepted", "held out")]
    if not asked:
        return None
    return float(np.quantile([r.agreement for r in asked], 0.25))


@dataclass(frozen=True)
class Segmentation:
    """Objects over one scene's elements.

    Attributes:
        scene_key: key of the prepared scene (field, cameras, settings) of the elements.
        elements: the N elements.
        objects: by name, in the order in which they were added.
        prior, prior_weight, lam: see ``LoopConfig``.
    """

    scene_key: str
    elements: Elements
    objects: dict[str, ObjectResult]
    prior: float
    prior_weight: float
    lam: float = 1.0

    def check_fits(self, scene: Scene) -> None:
        """Check that the segmentation, which may come from a file, belongs to a scene.

        Raises:
            SA3DError: it was made in another scene, or a grid, a view, a mask or a prompt in it
                does not fit the scene.
        """
        if self.scene_key != scene.key:
            raise SA3DError("this segmentation was made in another scene: open that scene")
        if self.elements.grid != scene.grid:
            raise SA3DError("the segmentation has another grid than its scene: segment again")
        views = scene.views
        for one in self.objects.values():
            where = f"the segmentation does not fit its scene: object {one.name!r}"
            for index in (*one.views, *one.held_out):
                if index >= len(views):
                    raise SA3DError(f"{where} has no view with index {index}: segment again")
            for index, record in one.views.items():
                size = (views[index].camera.height, views[index].camera.width)
                for bitmap in (record.mask, record.corrected):
                    if bitmap is not None and bitmap.shape != size:
                        raise SA3DError(
                            f"{where} has a mask of another size than view {views[index].name!r}: "
                            "segment again"
                        )
            if marks := [p for p in one.prompts if p.points or p.box or p.mask is not None]:
                prompts_in_views(marks, views)

    def object(self, name: str) -> ObjectResult:
        """Return an object by name.

        Raises:
            SA3DError: there is no such object.
        """
        if name not in self.objects:
            there = ", ".join(self.objects) or "none"
            raise SA3DError(f"no object {name!r} here; there are: {there}")
        return self.objects[name]

    @property
    def colors(self) -> dict[str, Color]:
        """Colors of the objects by name, as shown everywhere."""
        return object_colors({name: one.color for name, one in self.objects.items()})

    def recolored(self, name: str, color: Color) -> Segmentation:
        """Return a segmentation in which an object has another color.

        Raises:
            SA3DError: there is no such object, or the color is invalid.
        """
        one = replace(self.object(name), color=checked_color(color))
        return replace(self, objects={**self.objects, name: one})

    def check_free(self, name: str) -> None:
        """Check that a name is valid and free for a new object.

        Raises:
            SA3DError: the name is invalid or taken.
        """
        check_new_name(name, self.objects)

    def renamed(self, name: str, new: str) -> Segmentation:
        """Return a segmentation in which an object has another name.

        Raises:
            SA3DError: there is no such object, or the new name is invalid or taken.
        """
        one = self.object(name)
        check_new_name(new, [other for other in self.objects if other != name])
        one = one.renamed(new)
        items = [(new, one) if key == name else (key, o) for key, o in self.objects.items()]
        return replace(self, objects=dict(items))

    def without(self, names: Sequence[str]) -> Segmentation:
        """Return a segmentation without some objects.

        Raises:
            SA3DError: one of them does not exist, or none would be left.
        """
        for name in names:
            self.object(name)
        left = {name: one for name, one in self.objects.items() if name not in names}
        if not left:
            raise SA3DError("no object would be left: delete the segmentation's folder instead")
        return replace(self, objects=left)

    def probability(self, name: str) -> Tensor:
        """Return the evidence share of an object, [N] in [0, 1]; without votes the prior."""
        return self.object(name).evidence.share(self.prior, self.prior_weight)

    @property
    def threshold(self) -> float:
        """Evidence share above which an element is object: lambda / (1 + lambda)."""
        return self.lam / (1 + self.lam)

    def labels(self) -> Tensor:
        """Return exclusive labels [N]: indices into ``objects``, or ``BACKGROUND``.

        Each element belongs to the object with the largest evidence share above ``threshold``.
        Elements without votes are background.
        """
        if not self.objects:
            return torch.full((len(self.elements),), BACKGROUND)
        shares = torch.stack([self.probability(name) for name in self.objects], dim=-1)
        voted = torch.stack([o.evidence.total > 0 for o in self.objects.values()], dim=-1)
        best, label = torch.where(voted, shares, 0.0).max(dim=-1)
        return torch.where(best > self.threshold, label, BACKGROUND)
