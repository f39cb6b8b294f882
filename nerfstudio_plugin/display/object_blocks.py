"""Objects as solid space: positions inside, rays that pass near, and entries of a checkpoint.

Checkpoint entries are tensors only, with a JSON description stored as bytes, so that ``torch.load``
needs no code to read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.base.json_files import parse_json
from sa3d.geometry.bounds import Bounds
from sa3d.results.object_volume import ObjectVolume
from sa3d.scene.elements import MaskGrid

_MAX_BOXES = 512
"""Testing a ray against more takes longer than rendering it."""
_MARGIN = 1
"""Voxels around an object where its interpolated share may still exceed the cut."""


@dataclass(frozen=True)
class Boxes:
    """Axis-aligned boxes; ``low`` and ``high`` are corners [B, 3], world."""

    low: Tensor
    high: Tensor

    def meet(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Return which rays [R, 3] pass through a box in front of their origin, bool [R]."""
        near = torch.zeros_like(origins[:, 0], dtype=torch.bool)
        if len(self.low):  # most rays miss the box around all boxes
            near = _meet_any(self.low.amin(0), self.high.amax(0), origins, directions)
            near[near.clone()] = _meet_any(self.low, self.high, origins[near], directions[near])
        return near

    def span(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return where rays [R, 3] enter the first box and leave the last: distances [R] each.

        A ray that meets no box enters at inf and leaves at -inf.
        """
        enter, leave = _slabs(self.low, self.high, origins, directions)
        hit = (leave >= enter) & (leave >= 0)
        first = torch.where(hit, enter, torch.inf).amin(dim=-1)
        return first, torch.where(hit, leave, -torch.inf).amax(dim=-1)


def _meet_any(low: Tensor, high: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
    enter, leave = _slabs(low, high, origins, directions)
    return ((leave >= enter) & (leave >= 0)).any(dim=-1)


def _slabs(low: Tensor, high: Tensor, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return where rays [R, 3] enter and leave boxes [B, 3]: distances [R, B] each.

    A ray that misses a box leaves before it enters.
    """
    safe = torch.where(directions.abs() < 1e-9, 1e-9, directions)[:, None]
    first = (low - origins[:, None]) / safe
    second = (high - origins[:, None]) / safe
    return torch.minimum(first, second).amax(dim=-1), torch.maximum(first, second).amin(dim=-1)


def boxes_of(volume: ObjectVolume, cut: float = 0.5) -> Boxes:
    """Return boxes around all voxels of a volume with a share above the cut; each is a cube."""
    coarse, side = torch.nonzero(volume.share > cut), 1
    while len(coarse) > _MAX_BOXES:
        coarse, side = torch.unique(coarse // 2, dim=0), side * 2
    low = coarse * side + volume.corner - _MARGIN
    high = low + side + 2 * _MARGIN
    corners = torch.stack(
        [torch.where(torch.tensor(upper).to(low.device), high, low) for upper in _CORNERS]
    )
    unit = (corners.to(torch.float32) / volume.grid.resolution).clamp(0, 1)
    world = volume.grid.bounds.to_world(unit)  # [8, B, 3]; extreme at corners, contracted or not
    return Boxes(world.amin(dim=0), world.amax(dim=0))


_CORNERS = tuple(product((False, True), repeat=3))


FORMAT_VERSION = 1
PREFIX = "sa3d."
"""Names of this package's entries in a checkpoint begin with it."""


def pack(about: Mapping[str, Any], named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return checkpoint entries that hold a description and copies of tensors."""
    described = json.dumps({"version": FORMAT_VERSION, **about}).encode()
    content = {"about": torch.tensor(list(described), dtype=torch.uint8), **named}
    return {PREFIX + name: tensor.detach().clone() for name, tensor in content.items()}


def unpack(
    tensors: Mapping[str, Tensor], device: torch.device, absent: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the description and tensors that ``pack`` stored, among other entries.

    Args:
        absent: message of the error if there are no such entries.

    Raises:
        SA3DError: there are no such entries, or they have another version.
        ValueError, LookupError: the description is damaged.
    """
    named = {
        name.removeprefix(PREFIX): tensor.to(device)
        for name, tensor in tensors.items()
        if name.startswith(PREFIX)
    }
    if "about" not in named:
        raise SA3DError(absent)
    about = parse_json(bytes(named.pop("about").tolist()))
    if about["version"] != FORMAT_VERSION:
        raise SA3DError(
            f"the checkpoint has format {about['version']}, this program reads {FORMAT_VERSION}: "
            "write it again, or use the version that wrote it"
        )
    return about, named


_PARTS = ("corner", "share", "dark")
"""The tensors of an ``ObjectVolume``."""
_ABSENT = "the checkpoint holds no object to cut out: export the field again"


@dataclass(frozen=True)
class Block:
    """One object's volume and the world-space boxes around it.

    Attributes:
        cut: share of the volume above which space is object.
    """

    volume: ObjectVolume
    boxes: Boxes
    cut: float = 0.5

    @classmethod
    def around(cls, volume: ObjectVolume) -> Block:
        """Make the block of a volume."""
        return cls(volume, boxes_of(volume))

    def at(self, cut: float) -> Block:
        """Return the same object with another cut; a lower cut makes it larger."""
        return self if cut == self.cut else Block(self.volume, boxes_of(self.volume, cut), cut)

    def contains(self, positions_world: Tensor) -> Tensor:
        """Return which positions [..., 3] are inside the object, bool [...]."""
        return self.volume.share_at(positions_world) > self.cut

    def points(self) -> Tensor:
        """Return the centers of the voxels inside, [N, 3], world."""
        cells = torch.nonzero(self.volume.share > 0.5) + self.volume.corner
        grid = self.volume.grid
        return grid.bounds.to_world((cells.to(torch.float32) + 0.5) / grid.resolution)

    def tensors(self, number: int) -> dict[str, Tensor]:
        """Return the volume as tensors named by a number, without its grid."""
        return {f"volume_{number}.{part}": getattr(self.volume, part) for part in _PARTS}

    @classmethod
    def from_tensors(cls, grid: MaskGrid, named: Mapping[str, Tensor], number: int) -> Block:
        """Read the tensors that ``tensors`` returned.

        Raises:
            LookupError: a tensor is missing.
        """
        parts = {part: named[f"volume_{number}.{part}"] for part in _PARTS}
        return cls.around(ObjectVolume(grid=grid, **parts))


@dataclass(frozen=True)
class Blocks:
    """The space that one or several objects occupy."""

    parts: tuple[Block, ...]

    def contain(self, positions_world: Tensor) -> Tensor:
        """Return which positions [..., 3] are inside any of the objects, bool [...]."""
        inside = torch.zeros_like(positions_world[..., 0], dtype=torch.bool)
        for block in self.parts:
            inside |= block.contains(positions_world)
        return inside

    @property
    def cut(self) -> float:
        """The cut of all parts; there must be at least one part."""
        return self.parts[0].cut

    def share_at(self, positions_world: Tensor) -> Tensor:
        """Return the largest share of any volume at positions [..., 3], [...]."""
        shares = [block.volume.share_at(positions_world) for block in self.parts]
        return torch.stack(shares).amax(dim=0)

    def meet(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Return which rays [R, 3] may pass through an object, bool [R]."""
        near = torch.zeros_like(origins[:, 0], dtype=torch.bool)
        for block in self.parts:
            near |= block.boxes.meet(origins, directions)
        return near

    def span(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return where rays [R, 3] may enter the first object and leave the last: [R] each.

        A ray that meets no object enters at inf and leaves at -inf.
        """
        spans = [block.boxes.span(origins, directions) for block in self.parts]
        enter, leave = (torch.stack(ends) for ends in zip(*spans, strict=True))
        return enter.amin(dim=0), leave.amax(dim=0)

    def box(self) -> tuple[list[float], list[float]]:
        """Return the corners [3], [3] of the axis-aligned box around all objects, world."""
        low = torch.cat([block.boxes.low for block in self.parts]).amin(dim=0)
        high = torch.cat([block.boxes.high for block in self.parts]).amax(dim=0)
        return low.tolist(), high.tolist()

    def tensors(self) -> dict[str, Tensor]:
        """Return the volumes as entries of a checkpoint; all have the same grid."""
        grid = self.parts[0].volume.grid
        about = {"grid": grid_description(grid), "volumes": len(self.parts)}
        named: dict[str, Tensor] = {}
        for number, block in enumerate(self.parts):
            named |= block.tensors(number)
        return pack(about, named)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> Blocks:
        """Read the entries that ``tensors`` returned.

        Raises:
            SA3DError: they are missing, of another version, or damaged.
        """
        try:
            about, named = unpack(tensors, device, absent=_ABSENT)
            grid = grid_from_description(about["grid"])
            return cls(tuple(Block.from_tensors(grid, named, i) for i in range(about["volumes"])))
        except (LookupError, TypeError, ValueError) as error:
            raise SA3DError(f"the checkpoint's objects are damaged ({error!r})") from error


def grid_description(grid: MaskGrid) -> dict[str, Any]:
    """Describe a grid for JSON."""
    return {"resolution": grid.resolution, "bounds": asdict(grid.bounds)}


def grid_from_description(described: Mapping[str, Any]) -> MaskGrid:
    """Make the grid that ``grid_description`` described.

    Raises:
        LookupError, TypeError, ValueError: this is no description of a grid.
    """
    low, high = described["bounds"]["aabb"]
    bounds = Bounds(described["bounds"]["kind"], (tuple(low), tuple(high)))
    return MaskGrid(bounds, described["resolution"])
