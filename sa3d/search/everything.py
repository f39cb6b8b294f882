"""Find all objects of a scene without a prompt: propose, segment each one, keep the good ones.

Proposals come from two sources: clusters of surface that stand out by geometry
(``sa3d.surfaces.standing_out``), refined by the segmenter, and the segmenter's own masks at points
where something stands out that is in no cluster. Each mask is lifted to the elements of
its view; two masks of different views show the same object if they share most of the elements that
*both* views see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import ObjectsFailedError, SA3DError
from sa3d.base.mask_overlap import iou
from sa3d.base.sums import ordered_sum
from sa3d.geometry.view_schedule import camera_distances, farthest_views
from sa3d.loop.config import LoopConfig
from sa3d.loop.session import Session
from sa3d.objects.events import Event, Finished
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ObjectResult, Segmentation
from sa3d.scene.scene import Scene
from sa3d.search.config import EverythingConfig, ProposalConfig
from sa3d.search.events import MasksProposed, ObjectsProposed
from sa3d.segmenters.mask_generator import generate_masks, grid_points
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.surfaces.standing_out import StandingOut, find_standing_out, in_many_frames
from sa3d.voting.config import SelfPromptConfig
from sa3d.voting.extent import Extent
from sa3d.voting.self_prompting import self_prompt


@dataclass(frozen=True)
class ProposedMask:
    """A mask, bool [H, W], in view ``view``, and its expected quality in [0, 1]."""

    view: int
    mask: np.ndarray
    quality: float


@dataclass(frozen=True)
class ObjectProposal:
    """A proposed object: its masks in several views, best first, and their mean IoU in 3D."""

    masks: list[ProposedMask]
    agreement: float


@dataclass(frozen=True)
class _Lifted:
    """The elements that a mask's view sees: ids, int64 [n]; light, [n]; in the mask, bool [n]."""

    proposed: ProposedMask
    ids: Tensor
    light: Tensor
    inside: Tensor


class ObjectProposer:
    """A search for objects in a prepared scene; see the module.

    Attributes:
        masks: the masks proposed so far, in all views.
    """

    def __init__(
        self, scene: Scene, segmenter: PromptableSegmenter, config: ProposalConfig
    ) -> None:
        self.scene, self.segmenter, self.config = scene, segmenter, config
        self.masks: list[ProposedMask] = []

    def run(self) -> Iterator[MasksProposed]:
        """Search the views one by one, and add to ``masks``."""
        standing_out = find_standing_out(self.scene, self.config.standing_out)
        chosen = _far_views(self.scene, self.config.views)
        for position, index in enumerate(chosen):
            self.scene.encode(index, self.segmenter)
            off_planes = self._off_planes(index, standing_out)
            found = self._from_clusters(index, standing_out.clusters[index])
            found += self._from_clicks(index, off_planes, found)
            found = [one for one in found if _share(off_planes, one.mask) >= self.config.min_height]
            self.masks += found
            yield MasksProposed(position, len(chosen), self.scene.views[index].name, len(found))

    def objects(self) -> list[ObjectProposal]:
        """Return the objects that the masks found so far show, the best supported first."""
        lifted = [self._lift(one) for one in self.masks]
        groups = group_by_overlap(overlaps(lifted), [m.view for m in self.masks], self.config)
        return [
            ObjectProposal(
                sorted((self.masks[i] for i in group), key=lambda mask: mask.quality, reverse=True),
                mean,
            )
            for group, mean in groups
        ]

    def _from_clusters(self, index: int, clusters: Tensor) -> list[ProposedMask]:
        """Return masks of the clusters [h, w] that are large enough, refined by the segmenter."""
        sizes = torch.bincount(clusters[clusters >= 0], minlength=1)
        wanted = torch.nonzero(sizes >= self.config.min_share * clusters.numel())[:, 0]
        found = []
        for cluster in wanted.tolist():
            if float(sizes[cluster]) / clusters.numel() <= self.config.masks.max_area:
                found.append(self._refined(index, (clusters == cluster).float()))
        return found

    def _refined(self, index: int, cluster: Tensor) -> ProposedMask:
        """Refine a cluster [h, w] by the segmenter, unless the two overlap too little."""
        camera = self.scene.views[index].camera
        prepared = self.scene.prepared(index)
        size = (camera.width, camera.height)
        large = torch.nn.functional.interpolate(
            cluster[None, None], (camera.height, camera.width), mode="bilinear"
        )[0, 0]
        plain = ProposedMask(index, large.numpy() > 0.5, 0.5)
        prompt = self_prompt(
            cluster, torch.ones_like(cluster), prepared.points_world, size, SelfPromptConfig()
        )
        if prompt is None:
            return plain
        prediction = prompt.predict(self.segmenter)
        best = int(prediction.scores.argmax())
        mask = prediction.masks[best]
        shared = iou(mask, plain.mask)
        if shared < self.config.min_overlap:
            return plain
        return ProposedMask(index, mask, float(prediction.scores[best] * shared))

    def _from_clicks(
        self, index: int, off_planes: np.ndarray, found: Sequence[ProposedMask]
    ) -> list[ProposedMask]:
        """Return the segmenter's masks at grid points off the planes and the masks ``found``."""
        camera = self.scene.views[index].camera
        size = (camera.width, camera.height)
        points = grid_points(*size, self.config.masks.points_per_side)
        taken = np.logical_or.reduce([one.mask for one in found] or [np.zeros(size[::-1], bool)])
        open_ = ~taken & off_planes
        x, y = points.astype(int).T
        masks = generate_masks(self.segmenter, size, self.config.masks, points[open_[y, x]])
        return [
            ProposedMask(index, one.mask, one.quality)
            for one in masks
            if _share(open_, one.mask) > 0.5
        ]

    def _off_planes(self, index: int, standing_out: StandingOut) -> np.ndarray:
        """Select the pixels, bool [H, W], with surface off all planes and in many views' images."""
        prepared = self.scene.prepared(index)
        off = prepared.render.accumulation.cpu() > 0.5
        for plane in standing_out.planes:
            off &= plane.height(prepared.points_world.cpu()) > standing_out.thickness
        frames = in_many_frames(self.scene, prepared.points_world.cpu().reshape(-1, 3))
        off &= (frames >= self.config.standing_out.min_frames).reshape(off.shape)
        camera = self.scene.views[index].camera
        large = torch.nn.functional.interpolate(
            off[None, None].float(), (camera.height, camera.width), mode="nearest"
        )
        return large[0, 0].numpy() > 0.5

    def _lift(self, proposed: ProposedMask) -> _Lifted:
        prepared = self.scene.prepared(proposed.view)
        share = prepared.mask_to_rays(proposed.mask).to(self.scene.device)
        sums = prepared.operator.splat_local(torch.stack([share, torch.ones_like(share)]).T)
        inside = sums[:, 0] > 0.5 * sums[:, 1]
        return _Lifted(proposed, prepared.operator.element_ids, sums[:, 1], inside)


def _far_views(scene: Scene, count: int) -> list[int]:
    """Return ``count`` views far from each other, starting with the most central one."""
    distances = camera_distances([view.camera for view in scene.views])
    middle = int(distances.sum(dim=1).argmin())
    return farthest_views(distances, range(len(scene.views)), count, [middle])


def overlaps(lifted: Sequence[_Lifted]) -> Tensor:
    """Return the IoU in 3D of all pairs of masks, [M, M].

    The IoU is over the elements that both views see, weighted by their light; 0 if there are none
    in either mask.
    """
    result = torch.eye(len(lifted))
    for i, one in enumerate(lifted):
        for j, other in enumerate(lifted[:i]):
            slot = torch.searchsorted(other.ids, one.ids).clamp_max(len(other.ids) - 1)
            common = other.ids[slot] == one.ids
            slot = slot[common]
            light = torch.minimum(one.light[common], other.light[slot])
            a, b = one.inside[common], other.inside[slot]
            union = ordered_sum(light[a | b])
            value = ordered_sum(light[a & b]) / union if union > 0 else 0.0
            result[i, j] = result[j, i] = value
    return result


def group_by_overlap(
    overlap: Tensor, views: Sequence[int], config: ProposalConfig
) -> list[tuple[list[int], float]]:
    """Group masks that show the same object, at most one of each view.

    Each group begins with the mask that most views support. It gets, from every other view, the
    mask that overlaps the first one most.

    Args:
        overlap: [M, M], IoU in 3D.
        views: the view of each mask, M of them.

    Returns:
        Per group, the indices of its masks and their mean overlap with the first one; the best
        supported group first.
    """
    free = set(range(len(views)))
    groups = []
    while free:
        candidates = [_members(overlap, views, free, seed, config.min_overlap) for seed in free]
        best = max(candidates, key=lambda group: sum(float(overlap[group[0], i]) for i in group))
        if len(best) < config.min_views:
            break
        free -= set(best)
        groups.append((best, float(np.mean([float(overlap[best[0], i]) for i in best[1:]]))))
    return groups


def _members(
    overlap: Tensor, views: Sequence[int], free: set[int], seed: int, enough: float
) -> list[int]:
    best: dict[int, int] = {}
    for other in free:
        if views[other] != views[seed] and overlap[seed, other] >= enough:
            rival = best.get(views[other])
            if rival is None or overlap[seed, other] > overlap[seed, rival]:
                best[views[other]] = other
    return [seed, *sorted(best.values())]


def _share(where: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a mask [H, W] that is ``where`` [H, W]; 0 if the mask is empty."""
    return int((mask & where).sum()) / max(int(mask.sum()), 1)


@dataclass(frozen=True)
class FoundObject:
    """A row of the table of objects.

    Attributes:
        name: ``object_1`` and so on if the objects were found without a prompt.
        views: number of views in which the object was found.
        size: longest side of its extent, in world units.
        agreement: mean agreement of its views in the last round, in [0, 1].
        elements: number of elements with its label.
    """

    name: str
    views: int
    size: float
    agreement: float
    elements: int


class EverythingSearch:
    """A search that finds and segments all objects of a prepared scene, without a prompt.

    Attributes:
        finished: names of the proposed objects whose loop has finished.

    Example:
        >>> search = EverythingSearch(scene, segmenter)
        >>> for event in search.run():
        ...     print(event)
        >>> segmentation = search.result()
    """

    def __init__(
        self,
        scene: Scene,
        segmenter: PromptableSegmenter,
        loop: LoopConfig | None = None,
        config: EverythingConfig | None = None,
    ) -> None:
        self.scene = scene
        self.config = config or EverythingConfig()
        self.proposer = ObjectProposer(scene, segmenter, self.config.proposals)
        self._session = Session(scene, segmenter, loop)
        self.finished: set[str] = set()

    def run(self) -> Iterator[MasksProposed | ObjectsProposed | Event]:
        """Search the views, then run the loop of every proposed object.

        Raises:
            SA3DError: no object was proposed.
        """
        yield from self.proposer.run()
        proposals = self.proposer.objects()
        if not proposals:
            raise SA3DError(
                "found no object that several views agree on: prompt an object with 'points', "
                "'box' or 'mask'"
            )
        self._session.add_prompts(
            [p for i, one in enumerate(proposals) for p in self._prompts(f"object_{i + 1}", one)]
        )
        yield ObjectsProposed(len(proposals))
        with suppress(ObjectsFailedError):  # what cannot be segmented is no object
            for event in self._session.run():
                if isinstance(event, Finished):
                    self.finished.add(event.object)
                yield event

    def result(self) -> Segmentation:
        """Return the objects that are kept, with exclusive labels; names count from the largest.

        Objects whose loop has not finished are left out, so this can be called at any time.

        Raises:
            SA3DError: no object is kept.
        """
        whole = self._session.result()
        finished = {n: one for n, one in whole.objects.items() if n in self.finished}
        good = {name: one for name, one in finished.items() if self._is_kept(one)}
        kept = self._without_doubles(replace(whole, objects=good)) if good else []
        if not kept:
            raise SA3DError(
                "the views do not agree on any of the proposed objects: prompt an object with "
                "'points', 'box' or 'mask'"
            )
        final = replace(whole, objects={name: whole.objects[name] for name in kept})
        renamed = {}
        for row in sorted(found_objects(final), key=lambda row: -row.size):
            name = f"object_{len(renamed) + 1}"
            renamed[name] = replace(final.objects[row.name].renamed(name), color=None)
        return replace(final, objects=renamed)

    def _prompts(self, name: str, proposal: ObjectProposal) -> list[Prompt]:
        best = proposal.masks[: self.config.proposals.prompted_views]
        return [Prompt(self.scene.views[m.view].name, name, mask=m.mask) for m in best]

    def _is_kept(self, one: ObjectResult) -> bool:
        seen = len(_found_in(one)) / len(self.scene.views)
        return seen >= self.config.min_seen and _agreement(one) >= self.config.min_agreement

    def _without_doubles(self, segmentation: Segmentation) -> list[str]:
        """Return the objects' names, best agreement first, without those mostly inside another."""
        kept: dict[str, Tensor] = {}
        by_agreement = sorted(segmentation.objects.values(), key=_agreement, reverse=True)
        for one in by_agreement:
            mine = one.evidence.labels(segmentation.lam)
            if all(_contained(mine, other) <= self.config.max_shared for other in kept.values()):
                kept[one.name] = mine
        return list(kept)


def found_objects(segmentation: Segmentation) -> list[FoundObject]:
    """Return the table of a segmentation's objects, in their order."""
    labels, positions = segmentation.labels(), segmentation.elements.positions_world
    rows = []
    for label, (name, one) in enumerate(segmentation.objects.items()):
        mine = labels == label
        size = Extent.of(positions[mine]).size if mine.any() else 0.0
        views, elements = len(_found_in(one)), int(mine.sum())
        rows.append(FoundObject(name, views, size, _agreement(one), elements))
    return rows


def _found_in(one: ObjectResult) -> list[int]:
    found = ("prompted", "accepted", "held out")
    return [index for index, record in one.views.items() if record.outcome in found]


def _agreement(one: ObjectResult) -> float:
    return one.rounds[-1].agreement if one.rounds else 0.0


def _contained(one: Tensor, other: Tensor) -> float:
    """Return the share of the smaller of two sets of elements, bool [N], that is in both."""
    smaller = torch.minimum(one.sum(), other.sum()).clamp_min(1)
    return float((one & other).sum() / smaller)
