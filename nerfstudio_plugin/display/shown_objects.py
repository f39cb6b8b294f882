"""Objects in the form that the viewer and ns-render show, and that a checkpoint stores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerfstudio_plugin.display.object_blocks import (
    Block,
    Blocks,
    grid_description,
    grid_from_description,
    pack,
    unpack,
)
from sa3d.base.errors import SA3DError
from sa3d.objects.colors import Color, object_colors
from sa3d.objects.segmentation import Segmentation
from sa3d.results.object_volume import centred_share, object_volume
from sa3d.scene.elements import Elements
from sa3d.scene.scene import Scene
from sa3d.voting.mask_rendering import MIN_ACCUMULATION

_ABSENT = (
    "the checkpoint holds no segmentation: the run was stopped before the object was lifted; run "
    "ns-train sa3d again (views prepared before are kept)"
)


@dataclass(frozen=True)
class ShownObjects:
    """K objects over N elements, to be shown.

    Attributes:
        field: fingerprint of the field they were segmented in.
        elements: the N elements.
        shares: [N, K] in [0, 1], evidence shares.
        blocks: by name, K of them; None if an object is empty, or not built yet.
        voted: bool [N, K], whether the votes outweigh the prior; None: everywhere.
        threshold: evidence share above which the segmentation calls an element object.
        colors: by name; objects without one get a color by their position.
        built: by name, the elements bool [N] that a block was built from; not saved.
    """

    field: str
    elements: Elements
    shares: Tensor
    blocks: dict[str, Block | None]
    voted: Tensor | None = None
    threshold: float = 0.5
    colors: Mapping[str, Color] = dataclasses.field(default_factory=dict)
    built: Mapping[str, Tensor] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def names(self) -> list[str]:
        """The objects' names, in the order of the columns of ``shares``."""
        return list(self.blocks)

    def palette(self, columns: Sequence[int]) -> list[Color]:
        """Return the colors of the objects at these columns of ``shares``."""
        colors = object_colors({name: self.colors.get(name) for name in self.names})
        return [colors[self.names[column]] for column in columns]

    def masks(self, positions_world: Tensor, weights: Tensor) -> Tensor:
        """Return the mask probability of every object and of any object: [R, K + 1].

        It is the mean share along the ray, ``sum_j w_j s(x_j) / sum_j w_j`` over the samples in
        elements, and 0 where hardly any light comes from elements.

        Args:
            positions_world: samples, [R, S, 3].
            weights: their rendering weights, [R, S].
        """
        slots = self.elements.find(self.elements.grid.keys(positions_world))
        share = self.shares[slots.clamp_min(0)]
        share = torch.cat([share, share.amax(dim=-1, keepdim=True)], dim=-1)
        return _mean_in_elements(slots, weights, share)

    def masks_and_votes(self, slots: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return every object's mask probability, and the share of light with votes, [R, K] each.

        Args:
            slots: index of each sample's element, [R, S], -1 outside of elements.
            weights: their rendering weights, [R, S].
        """
        slots = slots.long()
        masks = _mean_in_elements(slots, weights, self.shares[slots.clamp_min(0)])
        if self.voted is None:
            return masks, torch.ones_like(masks)
        voted = self.voted[slots.clamp_min(0)].to(weights)
        return masks, _mean_in_elements(slots, weights, voted)

    def solid(self, names: Sequence[str], threshold: float) -> Blocks:
        """Return the space that objects occupy where the evidence share is above a threshold.

        A threshold above the segmentation's own shrinks the surface; the inside, where no light
        comes from, is kept. A lower one changes nothing: space without votes would be added.
        """
        cut = max(0.5, float(centred_share(torch.tensor(threshold), self.threshold)))
        found = [block for name in names if (block := self.blocks[name]) is not None]
        return Blocks(tuple(block.at(cut) for block in found))

    def tensors(self) -> dict[str, Tensor]:
        """Return everything as entries of a checkpoint, which ``torch.load`` reads without code."""
        blocks = [block for block in self.blocks.values() if block is not None]
        about = {
            "field": self.field,
            "grid": grid_description(self.elements.grid),
            "names": self.names,
            "solid": [block is not None for block in self.blocks.values()],
            "threshold": self.threshold,
            "colors": dict(self.colors),
        }
        named = {"keys": self.elements.keys, "shares": self.shares}
        if self.voted is not None:
            named["voted"] = self.voted
        for number, block in enumerate(blocks):
            named |= block.tensors(number)
        return pack(about, named)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> ShownObjects:
        """Read the entries that ``tensors`` returned.

        Raises:
            SA3DError: they are missing, incomplete, or of another version.
        """
        try:
            about, named = unpack(tensors, device, absent=_ABSENT)
            grid = grid_from_description(about["grid"])
            blocks: dict[str, Block | None] = {}
            for name, solid in zip(about["names"], about["solid"], strict=True):
                number = sum(block is not None for block in blocks.values())
                blocks[name] = Block.from_tensors(grid, named, number) if solid else None
            colors = about.get("colors", about.get("colours", {}))  # runs saved before 2026-12
            return cls(
                field=about["field"],
                elements=Elements(grid, named["keys"]),
                shares=named["shares"].float(),
                blocks=blocks,
                voted=named.get("voted"),
                threshold=about.get("threshold", 0.5),
                colors={name: tuple(rgb) for name, rgb in colors.items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SA3DError(f"the checkpoint's segmentation is damaged ({error!r})") from error


def shown_objects(
    scene: Scene,
    segmentation: Segmentation,
    earlier: ShownObjects | None = None,
    *,
    build: bool = True,
) -> ShownObjects:
    """Return a segmentation in the form to show.

    Args:
        earlier: shown before; blocks of objects with the same elements are reused.
        build: build the other blocks, which takes seconds; if False, they stay as they were.
    """
    labels = segmentation.labels()
    blocks: dict[str, Block | None] = {}
    built = dict(earlier.built) if earlier else {}
    for number, name in enumerate(segmentation.objects):
        mine = labels == number
        same = name in built and torch.equal(built[name], mine)
        if build and not same:
            built[name] = mine
            blocks[name] = _solid(scene, segmentation, name) if bool(mine.any()) else None
        else:
            blocks[name] = earlier.blocks.get(name) if earlier else None
    shares = [segmentation.probability(name) for name in segmentation.objects]
    voted = [
        one.evidence.total > segmentation.prior_weight for one in segmentation.objects.values()
    ]
    return ShownObjects(
        field=scene.field.fingerprint,
        elements=segmentation.elements,
        shares=torch.stack(shares, dim=-1),
        blocks=blocks,
        voted=torch.stack(voted, dim=-1),
        threshold=segmentation.threshold,
        colors=segmentation.colors,
        built=built,
    )


def _mean_in_elements(slots: Tensor, weights: Tensor, values: Tensor) -> Tensor:
    """Return the mean of samples' values [R, S, C] along rays, weighted by light in elements."""
    lit = torch.where(slots >= 0, weights, 0.0)
    total = lit.sum(dim=-1, keepdim=True)
    mean = (lit[..., None] * values).sum(dim=-2) / total.clamp_min(MIN_ACCUMULATION)
    return torch.where(total < MIN_ACCUMULATION, 0.0, mean).clamp(0, 1)


def _solid(scene: Scene, segmentation: Segmentation, name: str) -> Block:
    return Block.around(object_volume(scene, segmentation, name))
