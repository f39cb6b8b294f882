"""Objects as the viewer and ns-render show them, and as plain tensors in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nerfstudio_plugin.checkpoint_tensors import pack, unpack
from nerfstudio_plugin.object_blocks import Block, grid_description, grid_from_description
from sa3d.errors import SA3DError
from sa3d.mask_grid import Elements
from sa3d.mask_rendering import MIN_ACCUMULATION
from sa3d.object_volume import object_volume
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation

_ABSENT = (
    "the checkpoint holds no segmentation: the run was stopped before the object was lifted; run "
    "ns-train sa3d again (views prepared before are kept)"
)


@dataclass(frozen=True)
class ShownObjects:
    """K objects over N elements.

    Attributes:
        field: fingerprint of the radiance field they were segmented in.
        elements: the N elements.
        shares: [N, K] in [0, 1], evidence shares.
        blocks: by name, K of them; None where nothing belongs to the object, or not yet.
    """

    field: str
    elements: Elements
    shares: Tensor
    blocks: dict[str, Block | None]

    @property
    def names(self) -> list[str]:
        """The objects' names, in the order of ``shares``' columns."""
        return list(self.blocks)

    def masks(self, positions_world: Tensor, weights: Tensor) -> Tensor:
        """Mask probability of every object and of any: [R, K + 1].

        The mean share along the ray, ``sum_j w_j s(x_j) / sum_j w_j`` over the samples that lie in
        elements; 0 where hardly any light comes from elements.

        Args:
            positions_world: samples, [R, S, 3].
            weights: their rendering weights, [R, S].
        """
        slot = self.elements.find(self.elements.grid.keys(positions_world))
        lit = torch.where(slot >= 0, weights, 0.0)
        share = self.shares[slot.clamp_min(0)]
        share = torch.cat([share, share.amax(dim=-1, keepdim=True)], dim=-1)
        total = lit.sum(dim=-1, keepdim=True)
        mean = (lit[..., None] * share).sum(dim=-2) / total.clamp_min(MIN_ACCUMULATION)
        return torch.where(total < MIN_ACCUMULATION, 0.0, mean).clamp(0, 1)

    def tensors(self) -> dict[str, Tensor]:
        """Everything as tensors, so that ``torch.load`` needs no code to read them."""
        blocks = [block for block in self.blocks.values() if block is not None]
        about = {
            "field": self.field,
            "grid": grid_description(self.elements.grid),
            "names": self.names,
            "solid": [block is not None for block in self.blocks.values()],
        }
        named = {"keys": self.elements.keys, "shares": self.shares}
        for number, block in enumerate(blocks):
            named |= block.tensors(number)
        return pack(about, named)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> ShownObjects:
        """What :meth:`tensors` gave, on a device.

        Raises:
            SA3DError: the tensors are of another version, or incomplete.
        """
        try:
            about, named = unpack(tensors, device, absent=_ABSENT)
            grid = grid_from_description(about["grid"])
            blocks: dict[str, Block | None] = {}
            for name, solid in zip(about["names"], about["solid"], strict=True):
                number = sum(block is not None for block in blocks.values())
                blocks[name] = Block.from_tensors(grid, named, number) if solid else None
            return cls(
                about["field"], Elements(grid, named["keys"]), named["shares"].float(), blocks
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SA3DError(f"the checkpoint's segmentation is damaged ({error!r})") from error


def shown_objects(
    scene: Scene, segmentation: Segmentation, earlier: ShownObjects | None = None
) -> ShownObjects:
    """A segmentation, ready to be shown.

    Args:
        earlier: take the blocks from here instead of building them anew, which takes seconds.
    """
    if earlier is None:
        blocks = {name: _solid(scene, segmentation, name) for name in segmentation.objects}
    else:
        blocks = {name: earlier.blocks.get(name) for name in segmentation.objects}
    shares = [segmentation.probability(name) for name in segmentation.objects]
    return ShownObjects(
        field=scene.field.fingerprint,
        elements=segmentation.elements,
        shares=torch.stack(shares, dim=-1),
        blocks=blocks,
    )


def _solid(scene: Scene, segmentation: Segmentation, name: str) -> Block | None:
    label = list(segmentation.objects).index(name)
    if not (segmentation.labels() == label).any():
        return None
    return Block.around(object_volume(scene, segmentation, name))
