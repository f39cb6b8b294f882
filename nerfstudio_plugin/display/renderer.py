"""Renders what a ``Display`` asks for, and evaluates the NeRF once per ray and camera."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from torch import Tensor

from nerfstudio_plugin.display.canvas import Canvas, CanvasCache
from nerfstudio_plugin.display.layers import Layers
from nerfstudio_plugin.display.object_blocks import Blocks
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.display.viewer_request import Request
from nerfstudio_plugin.fields.nerfacto import NerfactoRadianceField
from sa3d.fields.radiance_field import FieldRender

_MOST_BYTES = 400 << 20
"""Memory for rays kept: some five finished pictures of 512 x 384 with 24 samples a ray."""

_Key = tuple[Hashable, ...]


class DisplayRenderer:
    """Pictures of one field; rays are kept per camera, for as many cameras as memory allows.

    Args:
        background: [3] in [0, 1], behind objects shown alone.
        most_bytes: memory for rays.
    """

    def __init__(
        self, field: NerfactoRadianceField, background: Tensor, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._field, self._background = field, background
        self.canvases = CanvasCache(most_bytes)
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
        """``rgb`` [H, W, 3] as the display says, ``depth`` and ``accumulation`` [H, W, 1].

        Where there is a picture for this camera already, a change of mode, threshold, colors or
        objects shows in it at once; only the next call renders what is still missing.
        """
        with self._lock:
            camera = _camera_key(request.camera, crop)
            layers = self._layers(camera, request.camera, crop, display, shown)
            changed = self._changed(camera, display, shown)
            go_on = True
            if request.seconds is None or not (changed and layers.showable):
                go_on = self._refine(layers, request.seconds)
            self.canvases.shrink(layers.canvases)
            if go_on and request.again is not None and not all(c.finished for c in layers.needed):
                request.again()
            # what was rendered just now may have overtaken what was there
            return self._layers(camera, request.camera, crop, display, shown).outputs()

    def _changed(self, camera: _Key, display: Display, shown: ShownObjects | None) -> bool:
        """Whether the same camera is to show something else than in the call before."""
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
        """How to render the objects alone, or all else."""
        field, alone = self._field, display.mode == "object only"

        def kept(positions: Tensor) -> Tensor:
            return (solid.contain(positions) == alone).to(positions)

        return lambda bundle: field.render_bundle(bundle, kept, self._background if alone else None)

    def _refine(self, layers: Layers, seconds: float | None) -> bool:
        """Render what is missing, coarse pixels first, for so long; at least a first picture.

        Returns:
            Whether it is worth going on: False where memory is short, and what is there must do.
        """
        until = math.inf if seconds is None else time.monotonic() + seconds
        while unfinished := [canvas for canvas in layers.needed if not canvas.finished]:
            canvas = min(unfinished, key=lambda canvas: canvas.done)
            try:
                canvas.advance(self._field.rays_per_chunk)
                if canvas is layers.cut:  # now, so that another threshold acts at once
                    for part in canvas.parts[-1:]:
                        part.solid_share(layers.solid)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if not self.canvases.shrink(layers.canvases, most_bytes=0):
                    if seconds is None:
                        raise
                    return False
            if seconds is not None and self.canvases.too_large(layers.canvases):
                return False
            if time.monotonic() > until and layers.showable:
                break
        return True


def _camera_key(camera: Cameras, crop: OrientedBox | None) -> _Key:
    """What the rays of a camera depend on."""
    numbers = [camera.camera_to_worlds, camera.fx, camera.fy, camera.cx, camera.cy]
    numbers += [camera.width, camera.height, camera.camera_type]
    numbers += [t for t in (camera.distortion_params, camera.times) if t is not None]
    numbers += [crop.R, crop.T, crop.S] if crop is not None else []
    return (tuple(value for tensor in numbers for value in tensor.flatten().tolist()),)


def _out_of_memory(error: Exception) -> bool:
    """Whether this is how Python or torch say so, on any device."""
    return isinstance(error, MemoryError) or "memory" in str(error)
