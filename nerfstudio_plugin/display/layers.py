"""The canvases one picture is made of, and how it is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerfstudio_plugin.display.canvas import Canvas
from nerfstudio_plugin.display.object_blocks import Blocks
from nerfstudio_plugin.display.pictures import heat_map, outline, overlay
from nerfstudio_plugin.display.ray_samples import RaySamples
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects

FAR = 1e3
"""Depth where nothing is, world units; the viewer draws everything else in front of it."""


@dataclass(frozen=True)
class Layers:
    """What a display needs of one camera.

    Attributes:
        shown: the objects; None where none of them is to be shown.
        solid: the space the chosen objects take up; no parts if it has not been built yet.
        whole: the scene as it is.
        cut: rays near the objects, rendered without these or without all else; None if the display
            does not need it.
        older: like ``cut``, at another threshold, where that has got further.
        background: [3] in [0, 1], behind objects shown alone.
    """

    display: Display
    shown: ShownObjects | None
    solid: Blocks
    whole: Canvas
    cut: Canvas | None
    older: Canvas | None
    background: Tensor

    @property
    def needed(self) -> list[Canvas]:
        """The canvases to render for this picture."""
        if self.cut is None:
            return [self.whole]
        return [self.cut] if self._alone else [self.whole, self.cut]

    @property
    def canvases(self) -> list[Canvas]:
        """All of them."""
        return [canvas for canvas in (self.whole, self.cut, self.older) if canvas is not None]

    @property
    def showable(self) -> bool:
        """Whether there is a picture yet."""
        canvases = [self.older if canvas is self.cut else canvas for canvas in self.needed]
        pairs = zip(self.needed, canvases, strict=True)
        return all((other or canvas).stride is not None for canvas, other in pairs)

    def outputs(self) -> dict[str, Tensor]:
        """``rgb`` [H, W, 3], ``depth`` and ``accumulation`` [H, W, 1]."""
        picture = self._scene() if self.cut is None else self._cut_out(self.cut)
        rgb, depth, accumulation = picture.split([3, 1, 1], dim=-1)
        if self.shown is not None:
            rgb = self._marked(rgb, self.shown)
        return {"rgb": rgb, "depth": depth, "accumulation": accumulation}

    @property
    def _alone(self) -> bool:
        return self.display.mode == "object only"

    def _scene(self) -> Tensor:
        """The scene, or before there are solid objects what its samples say: [H, W, 5]."""
        parts, empty = self.whole.parts, self._empty()
        if self.shown is None or not self.display.cuts:
            return self.whole.picture(_stacked([_rendered(part) for part in parts], 5), empty)
        columns = self.display.chosen(self.shown.names)
        values = []
        for part in parts:
            inside = part.shares(self.shown)[..., columns].amax(-1) > self.display.threshold
            values.append(self._recomposited(part, inside))
        return self.whole.picture(_stacked(values, 5), empty)

    def _cut_out(self, exact: Canvas) -> Tensor:
        """The objects alone, or the scene without them, [H, W, 5]."""
        if self._alone:
            fill = self._empty()
        else:
            rays = _stacked([_rendered(part) for part in self.whole.parts], 5)
            fill = self.whole.picture(rays, self._empty())
        if self.older is None:
            return exact.picture(_stacked([_rendered(part) for part in exact.parts], 5), fill)
        values = [
            self._recomposited(part, part.solid_share(self.solid) > self.solid.cut)
            for part in self.older.parts
        ]
        return self.older.picture(_stacked(values, 5), fill)

    def _recomposited(self, part: RaySamples, inside: Tensor) -> Tensor:
        """Rays [R, 5] with the samples inside objects, bool [R, S], left out, or all others."""
        left_out, background = (~inside, self.background) if self._alone else (inside, None)
        rgb, depth, accumulation = part.without(left_out, background)
        return torch.cat([rgb, depth[:, None], accumulation[:, None]], dim=-1)

    def _marked(self, rgb: Tensor, shown: ShownObjects) -> Tensor:
        """The picture with the chosen objects marked in it, [H, W, 3]."""
        display, columns = self.display, self.display.chosen(shown.names)
        if display.mode not in ("overlay", "outline", "probability"):
            return rgb
        values = []
        for part in self.whole.parts:
            masks, votes = part.masks_and_votes(shown)
            values.append(torch.cat([masks[:, columns], votes[:, columns]], dim=-1))
        nothing = torch.zeros_like(rgb[..., :1]).expand(-1, -1, 2 * len(columns))
        image = self.whole.picture(_stacked(values, 2 * len(columns)), nothing)
        masks, votes = image.split(len(columns), dim=-1)
        if display.mode == "probability":
            probability, likeliest = masks.max(dim=-1, keepdim=True)
            return heat_map(rgb, probability[..., 0], votes.gather(-1, likeliest)[..., 0])
        # what hardly any view has spoken on does not join as the threshold sinks
        masks = masks - (1 - votes) * max(0.0, shown.threshold - display.threshold)
        draw = overlay if display.mode == "overlay" else outline
        return draw(rgb, masks, shown.palette(columns), display.threshold)

    def _empty(self) -> Tensor:
        """Nothing, [H, W, 5]."""
        nothing = torch.cat([self.background, self.background.new_tensor([FAR, 0.0])])
        return nothing.expand(self.whole.height, self.whole.width, 5)


def _rendered(part: RaySamples) -> Tensor:
    """rgb, depth and accumulation of rays, [R, 5]."""
    return torch.cat([part.rgb, part.depth[:, None], part.accumulation[:, None]], dim=-1)


def _stacked(values: Sequence[Tensor], columns: int) -> Tensor:
    """Values [R, columns] of all rays; there may be none."""
    return torch.cat(list(values)) if values else torch.zeros(0, columns)
