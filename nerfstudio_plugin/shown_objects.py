"""Objects as the viewer and ns-render show them, and as plain tensors in a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from nerfstudio_plugin.ray_boxes import Boxes, boxes_of
from sa3d.bounds import Bounds
from sa3d.errors import SA3DError
from sa3d.mask_grid import Elements, MaskGrid
from sa3d.mask_rendering import MIN_ACCUMULATION
from sa3d.object_volume import ObjectVolume, object_volume
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation

FORMAT_VERSION = 1
_PREFIX = "sa3d."


@dataclass(frozen=True)
class Block:
    """One object's volume and the world-space boxes around it."""

    volume: ObjectVolume
    boxes: Boxes

    @classmethod
    def around(cls, volume: ObjectVolume) -> Block:
        """The block of a volume."""
        return cls(volume, boxes_of(volume))

    def contains(self, positions_world: Tensor) -> Tensor:
        """Whether positions [..., 3] are inside the object, bool [...]."""
        return self.volume.share_at(positions_world) > 0.5


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
        grid = self.elements.grid
        about = {
            "version": FORMAT_VERSION,
            "field": self.field,
            "grid": {"resolution": grid.resolution, "bounds": asdict(grid.bounds)},
            "names": self.names,
            "solid": [block is not None for block in self.blocks.values()],
        }
        named = {
            "about": torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8),
            "keys": self.elements.keys,
            "shares": self.shares,
        }
        for number, block in enumerate(blocks):
            named[f"volume_{number}.corner"] = block.volume.corner
            named[f"volume_{number}.share"] = block.volume.share
            named[f"volume_{number}.dark"] = block.volume.dark
        return {_PREFIX + name: tensor.detach().clone() for name, tensor in named.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> ShownObjects:
        """What :meth:`tensors` gave, on a device.

        Raises:
            SA3DError: the tensors are of another version, or incomplete.
        """
        named = {
            name.removeprefix(_PREFIX): tensor.to(device)
            for name, tensor in tensors.items()
            if name.startswith(_PREFIX)
        }
        if "about" not in named:
            raise SA3DError(
                "the checkpoint holds no segmentation: the run was stopped before the object was "
                "lifted; run ns-train sa3d again (views prepared before are kept)"
            )
        try:
            about = json.loads(bytes(named["about"].tolist()))
            if about["version"] != FORMAT_VERSION:
                raise SA3DError(
                    f"the checkpoint has format {about['version']}, this program reads "
                    f"{FORMAT_VERSION}: segment again, or use the version that wrote it"
                )
            low, high = about["grid"]["bounds"]["aabb"]
            bounds = Bounds(about["grid"]["bounds"]["kind"], (tuple(low), tuple(high)))
            grid = MaskGrid(bounds, about["grid"]["resolution"])
            blocks: dict[str, Block | None] = {}
            for name, solid in zip(about["names"], about["solid"], strict=True):
                number = sum(block is not None for block in blocks.values())
                blocks[name] = _block(grid, named, number) if solid else None
            return cls(
                about["field"], Elements(grid, named["keys"]), named["shares"].float(), blocks
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SA3DError(f"the checkpoint's segmentation is damaged ({error!r})") from error


def _block(grid: MaskGrid, named: Mapping[str, Tensor], number: int) -> Block:
    parts = {part: named[f"volume_{number}.{part}"] for part in ("corner", "share", "dark")}
    return Block.around(ObjectVolume(grid=grid, **parts))


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
