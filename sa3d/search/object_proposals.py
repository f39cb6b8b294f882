"""Proposes objects: masks of a few views, lifted, grouped by their overlap in 3D.

Two sources, one pool: clusters of surface that stand out by geometry
(``sa3d.surfaces.standing_out``), refined by the segmenter, and the segmenter's own answers to
clicks where something stands out that no cluster explains. A mask is lifted to the elements of its
view; two masks of different views mean the same object if they share most of the elements *both*
views see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.base.mask_overlap import iou
from sa3d.geometry.view_schedule import camera_distances, farthest_views
from sa3d.scene.scene import Scene
from sa3d.search.config import ProposalConfig
from sa3d.segmenters.mask_generator import generate_masks, grid_points
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.surfaces.standing_out import StandingOut, find_standing_out, in_many_frames
from sa3d.voting.config import SelfPromptConfig
from sa3d.voting.self_prompting import self_prompt


@dataclass(frozen=True)
class ProposedMask:
    """A mask [H, W] bool in view ``view`` and how good it looks, in [0, 1]."""

    view: int
    mask: np.ndarray
    quality: float


@dataclass(frozen=True)
class ObjectProposal:
    """One object: its masks in several views, best first, and their mean IoU in 3D."""

    masks: list[ProposedMask]
    agreement: float


@dataclass(frozen=True)
class MasksProposed:
    """A view was searched: ``found`` masks in it."""

    index: int
    total: int
    view: str
    found: int


@dataclass(frozen=True)
class _Lifted:
    """A mask's elements: ids int64 [n] its view sees, light [n], and which are object, [n] bool."""

    proposed: ProposedMask
    ids: Tensor
    light: Tensor
    inside: Tensor


class ObjectProposer:
    """Proposes the objects of a prepared scene; see the module."""

    def __init__(
        self, scene: Scene, segmenter: PromptableSegmenter, config: ProposalConfig
    ) -> None:
        self.scene, self.segmenter, self.config = scene, segmenter, config
        self.masks: list[ProposedMask] = []

    def run(self) -> Iterator[MasksProposed]:
        """Search the views one by one; ``masks`` fills."""
        standing_out = find_standing_out(self.scene, self.config.standing_out)
        chosen = spread_views(self.scene, self.config.views)
        for position, index in enumerate(chosen):
            self.scene.encode(index, self.segmenter)
            off_planes = self._off_planes(index, standing_out)
            found = self._from_clusters(index, standing_out.clusters[index])
            found += self._from_clicks(index, off_planes, found)
            found = [one for one in found if _share(off_planes, one.mask) >= self.config.min_height]
            self.masks += found
            yield MasksProposed(position, len(chosen), self.scene.views[index].name, len(found))

    def objects(self) -> list[ObjectProposal]:
        """The objects the masks found so far mean, the best supported first."""
        lifted = [self._lift(one) for one in self.masks]
        groups = group_by_overlap(overlaps(lifted), [m.view for m in self.masks], self.config)
        return [
            ObjectProposal(sorted((self.masks[i] for i in group), key=_rank, reverse=True), mean)
            for group, mean in groups
        ]

    def _from_clusters(self, index: int, clusters: Tensor) -> list[ProposedMask]:
        """Clusters [h, w] large enough in a view, each refined by the segmenter."""
        sizes = torch.bincount(clusters[clusters >= 0], minlength=1)
        wanted = torch.nonzero(sizes >= self.config.min_share * clusters.numel())[:, 0]
        found = []
        for cluster in wanted.tolist():
            if float(sizes[cluster]) / clusters.numel() <= self.config.masks.max_area:
                found.append(self._refined(index, (clusters == cluster).float()))
        return found

    def _refined(self, index: int, cluster: Tensor) -> ProposedMask:
        """A cluster [h, w] as the segmenter sees it; as it is where the segmenter disagrees."""
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
        prediction = prompt.ask(self.segmenter)
        best = int(prediction.scores.argmax())
        mask = prediction.masks[best]
        shared = iou(mask, plain.mask)
        if shared < self.config.min_overlap:
            return plain
        return ProposedMask(index, mask, float(prediction.scores[best] * shared))

    def _from_clicks(
        self, index: int, off_planes: np.ndarray, found: Sequence[ProposedMask]
    ) -> list[ProposedMask]:
        """The segmenter's masks at grid points off the planes and off the masks found already."""
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
        """Pixels [H, W] bool that see a surface off all planes and in many views' frames."""
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
        share = prepared.at_rays(proposed.mask).to(self.scene.device)
        sums = prepared.operator.splat_local(torch.stack([share, torch.ones_like(share)]).T)
        inside = sums[:, 0] > 0.5 * sums[:, 1]
        return _Lifted(proposed, prepared.operator.element_ids, sums[:, 1], inside)


def spread_views(scene: Scene, count: int) -> list[int]:
    """``count`` views far from each other, the first one the nearest to all."""
    distances = camera_distances([view.camera for view in scene.views])
    middle = int(distances.sum(dim=1).argmin())
    return farthest_views(distances, range(len(scene.views)), count, [middle])


def overlaps(lifted: Sequence[_Lifted]) -> Tensor:
    """IoU in 3D of all pairs of masks, [M, M], by the light on elements that both views see.

    0 where two views see nothing of either mask in common.
    """
    result = torch.eye(len(lifted))
    for i, one in enumerate(lifted):
        for j, other in enumerate(lifted[:i]):
            slot = torch.searchsorted(other.ids, one.ids).clamp_max(len(other.ids) - 1)
            common = other.ids[slot] == one.ids
            slot = slot[common]
            light = torch.minimum(one.light[common], other.light[slot])
            a, b = one.inside[common], other.inside[slot]
            union = float(light[a | b].sum())
            value = float(light[a & b].sum()) / union if union > 0 else 0.0
            result[i, j] = result[j, i] = value
    return result


def group_by_overlap(
    overlap: Tensor, views: Sequence[int], config: ProposalConfig
) -> list[tuple[list[int], float]]:
    """Masks that mean the same object, at most one of each view.

    The mask that most views support goes first and takes from every other view the mask that
    overlaps it most.

    Args:
        overlap: [M, M], IoU in 3D.
        views: the view of each mask, M of them.

    Returns:
        Groups (indices of masks, mean overlap with the first), the best supported first.
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
    """Share of a mask [H, W] that lies ``where`` [H, W]; 0 if it is empty."""
    return int((mask & where).sum()) / max(int(mask.sum()), 1)


def _rank(one: ProposedMask) -> float:
    """Good masks go first."""
    return one.quality
