"""A picture that is rendered a few rays at a time: coarse first, then finer, no ray twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from torch import Tensor
from torch.nn import functional

from nerfstudio_plugin.display.ray_samples import RaySamples
from sa3d.fields.radiance_field import FieldRender

_STRIDES = (16, 8, 4, 2, 1)
"""Every so many pixels, in both directions, has a ray of its own once a level is complete."""
_UNWANTED = 4
"""Pixels asked for each ray that may be wanted: most are not."""


class Canvas:
    """A picture [H, W] as one camera sees it.

    Args:
        camera: one camera, at the picture's size.
        render: evaluates rays; called for every ray at most once.
        wanted: which of rays (origins, directions [R, 3]) to render at all, bool [R]; None: all.
        crop: space outside is left out.
    """

    def __init__(
        self,
        camera: Cameras,
        render: Callable[[RayBundle], FieldRender],
        wanted: Callable[[Tensor, Tensor], Tensor] | None = None,
        crop: OrientedBox | None = None,
    ) -> None:
        self.height, self.width = int(camera.height), int(camera.width)
        self._camera, self._render, self._wanted, self._crop = camera, render, wanted, crop
        self._order, self._ends = _coarse_to_fine(self.height, self.width)
        self._parts: list[tuple[int, RaySamples | None]] = []

    @property
    def parts(self) -> list[RaySamples]:
        """The rays rendered so far."""
        return [part for _, part in list(self._parts) if part is not None]

    @property
    def done(self) -> int:
        """Pixels decided so far."""
        return sum(count for count, _ in list(self._parts))

    @property
    def stride(self) -> int | None:
        """The finest complete level: one ray for so many pixels; None before the first."""
        complete = [s for s, end in zip(_STRIDES, self._ends, strict=True) if end <= self.done]
        return complete[-1] if complete else None

    @property
    def finished(self) -> bool:
        """Whether every pixel has its ray."""
        return self.done == self.height * self.width

    @property
    def size_bytes(self) -> int:
        """Memory the rays take."""
        return sum(part.size_bytes for part in self.parts)

    def advance(self, rays: int) -> None:
        """Render the next pixels, about ``rays`` of them, at most to the end of the level.

        May be interrupted anywhere by an exception: then nothing happened.
        """
        done = self.done
        level_end = next((end for end in self._ends if end > done), done)
        most = rays if self._wanted is None else _UNWANTED * rays
        end = min(level_end, done + most)
        pixels = self._order[done:end]
        bundle = self._bundle(pixels)
        if self._wanted is not None:
            wanted = self._wanted(bundle.origins, bundle.directions)
            pixels, bundle = pixels[wanted.cpu()], bundle[wanted]
        part = RaySamples.of(pixels, bundle, self._render(bundle)) if len(pixels) else None
        self._parts.append((end - done, part))

    def picture(self, values: Tensor, fill: Tensor) -> Tensor:
        """An image [H, W, C] of the values [R, C] of all rays so far.

        Between the pixels of the finest complete level it is interpolated; the rays of the last,
        unfinished level are drawn where they are.

        Args:
            fill: [H, W, C], shown where no rays are wanted, and before the first level.
        """
        if self.stride is None or not self.parts:
            return fill
        pixels = torch.cat([part.pixels for part in self.parts])
        image = torch.cat([fill, torch.zeros_like(fill[..., :1])], dim=-1).flatten(0, 1)
        drawn = torch.cat([values, torch.ones_like(values[:, :1])], dim=-1)
        image[pixels] = drawn
        image = image.view(self.height, self.width, -1)
        if self.stride > 1:
            last = self.stride == _STRIDES[-2]
            image = _interpolated(image, self.stride)
            if last:
                image.view(self.height * self.width, -1)[pixels] = drawn
        if self._wanted is None:
            return image[..., :-1]
        return torch.where(image[..., -1:] > 0, image[..., :-1], fill)

    def _bundle(self, pixels: Tensor) -> RayBundle:
        rows_columns = torch.stack([pixels // self.width, pixels % self.width], dim=-1)
        rows_columns = rows_columns.to(self._camera.device)
        return self._camera.generate_rays(
            camera_indices=torch.zeros_like(rows_columns[:, :1]),
            coords=rows_columns + 0.5,
            obb_box=self._crop,
        )


class CanvasCache:
    """The canvases used last, as many as fit into a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._canvases: OrderedDict[tuple[Hashable, ...], Canvas] = OrderedDict()

    def __len__(self) -> int:
        return len(self._canvases)

    @property
    def size_bytes(self) -> int:
        """Memory of all."""
        return sum(canvas.size_bytes for canvas in self._canvases.values())

    def get(self, key: tuple[Hashable, ...], make: Callable[[], Canvas]) -> Canvas:
        """The canvas of a key, made if it is not there; now the last used."""
        if key not in self._canvases:
            self._canvases[key] = make()
        self._canvases.move_to_end(key)
        return self._canvases[key]

    def finest(self, beginning: tuple[Hashable, ...]) -> Canvas | None:
        """The most complete canvas whose key begins like this; None if there is none."""
        alike = [key for key in self._canvases if key[: len(beginning)] == beginning]
        if not alike:
            return None
        best = max(alike, key=lambda key: self._canvases[key].done)
        self._canvases.move_to_end(best)
        return self._canvases[best]

    def shrink(self, kept: Sequence[Canvas], most_bytes: int | None = None) -> bool:
        """Forget what was not used for longest until the rest fits, but none of those kept.

        Returns:
            Whether anything was forgotten.
        """
        limit = self._most_bytes if most_bytes is None else most_bytes
        before = len(self._canvases)
        for key, canvas in list(self._canvases.items()):
            if self.size_bytes <= limit:
                break
            if all(canvas is not one for one in kept):
                del self._canvases[key]
        return len(self._canvases) < before

    def too_large(self, kept: Sequence[Canvas]) -> bool:
        """Whether these alone take more memory than there is for all."""
        return sum(canvas.size_bytes for canvas in kept) > self._most_bytes


@lru_cache(maxsize=4)
def _coarse_to_fine(height: int, width: int) -> tuple[Tensor, tuple[int, ...]]:
    """All pixels, coarse levels first, int64 [H * W], and where each level ends."""
    row, column = torch.arange(height)[:, None], torch.arange(width)
    level = torch.full((height, width), len(_STRIDES) - 1)
    for number, stride in reversed(list(enumerate(_STRIDES))):
        level[(row % stride == 0) & (column % stride == 0)] = number
    ends = torch.bincount(level.flatten(), minlength=len(_STRIDES)).cumsum(0)
    return torch.argsort(level.flatten(), stable=True), tuple(ends.tolist())


def _interpolated(image: Tensor, stride: int) -> Tensor:
    """An image [H, W, C] from its every ``stride``-th pixel, which keep their values."""
    height, width = image.shape[:2]
    grid = image[::stride, ::stride].permute(2, 0, 1)[None]
    grid = functional.pad(grid, (0, 1, 0, 1), mode="replicate")
    size = ((grid.shape[2] - 1) * stride + 1, (grid.shape[3] - 1) * stride + 1)
    fine = functional.interpolate(grid, size, mode="bilinear", align_corners=True)
    return fine[0].permute(1, 2, 0)[:height, :width].contiguous()
