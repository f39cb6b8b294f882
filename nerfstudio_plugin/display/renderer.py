"""Rendering of the images that ``Display`` settings ask for, with every ray evaluated once."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from torch import Tensor

from nerfstudio_plugin.display.canvas import Canvas, CanvasCache, RaySamples
from nerfstudio_plugin.display.object_blocks import Blocks
from nerfstudio_plugin.display.overlays import heat_map, outline, overlay
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.display.viewer_request import Request
from nerfstudio_plugin.fields.model_field import ModelField
from sa3d.fields.radiance_field import FieldRender

FAR = 1e3
"""Depth of empty pixels, world units; the viewer draws everything else in front of it."""


@dataclass(frozen=True)
class Layers:
    """The canvases of one image, and how the image is composed of them.

    Attributes:
        shown: the objects; None if none is to be shown.
        solid: the space that the chosen objects occupy; without parts if it is not built yet.
        whole: rays of the whole scene.
        cut: rays near the objects, rendered without the objects, or of the objects alone; None if
            the display does not need it.
        older: like ``cut`` at another threshold, if that is more complete.
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
        """The canvases to render for this image."""
        if self.cut is None:
            return [self.whole]
        return [self.cut] if self._objects_only else [self.whole, self.cut]

    @property
    def canvases(self) -> list[Canvas]:
        """All canvases."""
        return [canvas for canvas in (self.whole, self.cut, self.older) if canvas is not None]

    @property
    def showable(self) -> bool:
        """True if there is an image yet."""
        canvases = [self.older if canvas is self.cut else canvas for canvas in self.needed]
        pairs = zip(self.needed, canvases, strict=True)
        return all((other or canvas).stride is not None for canvas, other in pairs)

    def outputs(self) -> dict[str, Tensor]:
        """Return ``rgb`` [H, W, 3], ``depth`` and ``accumulation`` [H, W, 1]."""
        image = self._scene() if self.cut is None else self._cut_out(self.cut)
        rgb, depth, accumulation = image.split([3, 1, 1], dim=-1)
        if self.shown is not None:
            rgb = self._marked(rgb, self.shown)
        return {"rgb": rgb, "depth": depth, "accumulation": accumulation}

    @property
    def _objects_only(self) -> bool:
        return self.display.mode == "object only"

    def _scene(self) -> Tensor:
        """Return the scene [H, W, 5]; for cut-outs without solid objects, by the elements."""
        parts, empty = self.whole.parts, self._empty()
        if self.shown is None or not self.display.cuts:
            return self.whole.image(_stacked([_rendered(part) for part in parts], 5), empty)
        columns = self.display.chosen(self.shown.names)
        values = []
        for part in parts:
            inside = part.shares(self.shown)[..., columns].amax(-1) > self.display.threshold
            values.append(self._recomposited(part, inside))
        return self.whole.image(_stacked(values, 5), empty)

    def _cut_out(self, exact: Canvas) -> Tensor:
        """Return the objects alone, or the scene without them, [H, W, 5]."""
        if self._objects_only:
            fill = self._empty()
        else:
            rays = _stacked([_rendered(part) for part in self.whole.parts], 5)
            fill = self.whole.image(rays, self._empty())
        if self.older is None:
            return exact.image(_stacked([_rendered(part) for part in exact.parts], 5), fill)
        values = [
            self._recomposited(part, part.solid_share(self.solid) > self.solid.cut)
            for part in self.older.parts
        ]
        return self.older.image(_stacked(values, 5), fill)

    def _recomposited(self, part: RaySamples, inside: Tensor) -> Tensor:
        """Composite rays [R, 5] without the samples inside objects, bool [R, S], or only these."""
        left_out, background = (~inside, self.background) if self._objects_only else (inside, None)
        rgb, depth, accumulation = part.without(left_out, background)
        return torch.cat([rgb, depth[:, None], accumulation[:, None]], dim=-1)

    def _marked(self, rgb: Tensor, shown: ShownObjects) -> Tensor:
        """Draw the chosen objects over an image [H, W, 3]."""
        display, columns = self.display, self.display.chosen(shown.names)
        if display.mode not in ("overlay", "outline", "probability"):
            return rgb
        values = []
        for part in self.whole.parts:
            masks, votes = part.masks_and_votes(shown)
            values.append(torch.cat([masks[:, columns], votes[:, columns]], dim=-1))
        nothing = torch.zeros_like(rgb[..., :1]).expand(-1, -1, 2 * len(columns))
        image = self.whole.image(_stacked(values, 2 * len(columns)), nothing)
        masks, votes = image.split(len(columns), dim=-1)
        if display.mode == "probability":
            probability, likeliest = masks.max(dim=-1, keepdim=True)
            return heat_map(rgb, probability[..., 0], votes.gather(-1, likeliest)[..., 0])
        # elements with hardly any votes do not join at a lower threshold
        masks = masks - (1 - votes) * max(0.0, shown.threshold - display.threshold)
        draw = overlay if display.mode == "overlay" else outline
        return draw(rgb, masks, shown.palette(columns), display.threshold)

    def _empty(self) -> Tensor:
        """Return an image [H, W, 5] of the background."""
        nothing = torch.cat([self.background, self.background.new_tensor([FAR, 0.0])])
        return nothing.expand(self.whole.height, self.whole.width, 5)


def _rendered(part: RaySamples) -> Tensor:
    """Return rgb, depth and accumulation of rays, [R, 5]."""
    return torch.cat([part.rgb, part.depth[:, None], part.accumulation[:, None]], dim=-1)


def _stacked(values: Sequence[Tensor], columns: int) -> Tensor:
    """Concatenate values to [R, columns]; there may be none."""
    return torch.cat(list(values)) if values else torch.zeros(0, columns)


_MAX_BYTES = 400 << 20
"""Memory for rays: about five finished images of 512 x 384 with 24 samples a ray."""

_Key = tuple[Hashable, ...]


class DisplayRenderer:
    """Renders images of one field; keeps the rays of as many cameras as memory allows.

    Args:
        background: [3] in [0, 1], behind objects shown alone.
        max_bytes: memory for rays.
    """

    def __init__(
        self, field: ModelField[Any], background: Tensor, max_bytes: int = _MAX_BYTES
    ) -> None:
        self._field, self._background = field, background
        self.canvases = CanvasCache(max_bytes)
        self._lock = threading.RLock()  # every browser has a thread of its own
        self._last: tuple[_Key, Display, ShownObjects | None] | None = None

    @torch.no_grad()
    def outputs(
        self,
        request: Request,
        display: Display,
        shown: ShownObjects | None,
        crop: OrientedBox | None = None,
    ) -> dict[str, Tensor]:
        """Render ``rgb`` [H, W, 3] for a display, ``depth`` and ``accumulation`` [H, W, 1].

        If there is an image for this camera already, a change of mode, threshold, colors or objects
        shows at once; only the next call renders the rays still missing.
        """
        with self._lock:
            camera = _camera_key(request.camera, crop)
            layers = self._layers(camera, request.camera, crop, display, shown)
            changed = self._changed(camera, display, shown)
            more = True
            if request.seconds is None or not (changed and layers.showable):
                more = self._refine(layers, request.seconds)
            self.canvases.shrink(layers.canvases)
            if more and request.again is not None and not all(c.finished for c in layers.needed):
                request.again()
            # the new rays may be more complete than the older ones by now
            return self._layers(camera, request.camera, crop, display, shown).outputs()

    def _changed(self, camera: _Key, display: Display, shown: ShownObjects | None) -> bool:
        """Return whether the same camera shows something else than in the call before."""
        last, self._last = self._last, (camera, display, shown)
        if last is None or last[0] != camera:
            return False
        return last[1] != display or last[2] is not shown

    def _layers(
        self,
        key: _Key,
        camera: Cameras,
        crop: OrientedBox | None,
        display: Display,
        shown: ShownObjects | None,
    ) -> Layers:
        names = [] if shown is None else [shown.names[i] for i in display.chosen(shown.names)]
        if not names:
            shown = None
        whole = self.canvases.get(key, lambda: Canvas(camera, self._field.render_bundle, crop=crop))
        solid, cut, older = Blocks(()), None, None
        if shown is not None and display.cuts:
            solid = shown.solid(names, display.threshold)
        if solid.parts:
            kind = (*key, display.mode, *(id(block.volume) for block in solid.parts))
            cut = self.canvases.get(
                (*kind, display.threshold),
                lambda: Canvas(camera, self._cutting(display, solid), solid.meet, crop),
            )
            finest = self.canvases.finest(kind)
            older = finest if finest is not None and finest.done > cut.done else None
        return Layers(display, shown, solid, whole, cut, older, self._background)

    def _cutting(self, display: Display, solid: Blocks) -> Callable[[RayBundle], FieldRender]:
        """Return a function that renders the objects alone, or the scene without them."""
        field, objects_only = self._field, display.mode == "object only"

        def kept(positions: Tensor) -> Tensor:
            return (solid.contain(positions) == objects_only).to(positions)

        return lambda bundle: field.render_bundle(
            bundle, kept, self._background if objects_only else None
        )

    def _refine(self, layers: Layers, seconds: float | None) -> bool:
        """Render missing rays, coarse levels first, within a time limit; at least a first image.

        Returns:
            Whether to request more: False if memory is short, so that the image stays coarse.
        """
        until = math.inf if seconds is None else time.monotonic() + seconds
        while unfinished := [canvas for canvas in layers.needed if not canvas.finished]:
            canvas = min(unfinished, key=lambda canvas: canvas.done)
            try:
                canvas.advance(self._field.rays_per_chunk)
                if canvas is layers.cut:  # cached now, so that another threshold acts at once
                    for part in canvas.parts[-1:]:
                        part.solid_share(layers.solid)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if not self.canvases.shrink(layers.canvases, max_bytes=0):
                    if seconds is None:
                        raise
                    return False
            if seconds is not None and self.canvases.too_large(layers.canvases):
                return False
            if time.monotonic() > until and layers.showable:
                break
        return True


def _camera_key(camera: Cameras, crop: OrientedBox | None) -> _Key:
    """Return the numbers that the rays of a camera depend on."""
    numbers = [camera.camera_to_worlds, camera.fx, camera.fy, camera.cx, camera.cy]
    numbers += [camera.width, camera.height, camera.camera_type]
    numbers += [t for t in (camera.distortion_params, camera.times) if t is not None]
    numbers += [crop.R, crop.T, crop.S] if crop is not None else []
    return (tuple(value for tensor in numbers for value in tensor.flatten().tolist()),)


def _out_of_memory(error: Exception) -> bool:
    """Return whether Python or torch ran out of memory, on any device."""
    return isinstance(error, MemoryError) or "memory" in str(error)
