"""Images rendered a few rays at a time, coarse first; every ray is rendered once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from torch import Tensor
from torch.nn import functional

from nerfstudio_plugin.display.object_blocks import Blocks
from nerfstudio_plugin.display.shown_objects import ShownObjects
from sa3d.fields.radiance_field import FieldRender
from sa3d.results.object_volume import ObjectVolume
from sa3d.scene.elements import Elements

_LEAST_LIGHT = 1e-6
"""Below this share of remaining light, opacities are rounding errors."""


@dataclass
class RaySamples:
    """R rendered rays with S samples each, from near to far.

    Attributes:
        pixels: int64 [R], flat indices into the image.
        origins, directions: [R, 3], world, unit length.
        rgb: [R, 3] in [0, 1].
        depth: [R], world units along the ray.
        accumulation: [R] in [0, 1].
        distances: [R, S], world units along the ray.
        weights: [R, S], rendering weights.
        colors: uint8 [R, S, 3], of the samples.
    """

    pixels: Tensor
    origins: Tensor
    directions: Tensor
    rgb: Tensor
    depth: Tensor
    accumulation: Tensor
    distances: Tensor
    weights: Tensor
    colors: Tensor
    _slots: tuple[Elements, Tensor] | None = field(default=None, repr=False)
    _solid: tuple[list[ObjectVolume], Tensor] | None = field(default=None, repr=False)
    _masks: tuple[ShownObjects, tuple[Tensor, Tensor]] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, pixels: Tensor, bundle: RayBundle, render: FieldRender) -> RaySamples:
        """Keep what a field rendered for rays, with its samples' colors."""
        assert render.sample_rgb is not None
        offsets = render.positions - bundle.origins[:, None]
        return cls(
            pixels=pixels,
            origins=bundle.origins,
            directions=bundle.directions,
            rgb=render.rgb,
            depth=render.depth,
            accumulation=render.accumulation,
            distances=(offsets * bundle.directions[:, None]).sum(dim=-1),
            weights=render.weights,
            colors=(render.sample_rgb.clamp(0, 1) * 255).round().to(torch.uint8),
        )

    def __len__(self) -> int:
        return self.pixels.shape[0]

    @property
    def size_bytes(self) -> int:
        """Memory for these samples, including what masks and cut-outs cache."""
        samples = self.distances.numel()
        return samples * (19 if self._solid else 15) + len(self) * 100

    @property
    def positions(self) -> Tensor:
        """Positions of the samples, [R, S, 3], world."""
        return self.origins[:, None] + self.distances[..., None] * self.directions[:, None]

    def masks_and_votes(self, shown: ShownObjects) -> tuple[Tensor, Tensor]:
        """See ``ShownObjects.masks_and_votes``; cached, both [R, K]."""
        if self._masks is None or self._masks[0] is not shown:
            slots = self._slots_in(shown.elements)
            self._masks = shown, shown.masks_and_votes(slots, self.weights)
        return self._masks[1]

    def _slots_in(self, elements: Elements) -> Tensor:
        if self._slots is None or self._slots[0] is not elements:
            slots = elements.find(elements.grid.keys(self.positions)).to(torch.int32)
            self._slots = elements, slots
        return self._slots[1]

    def shares(self, shown: ShownObjects) -> Tensor:
        """Return the evidence shares of the samples' elements, [R, S, K]; 0 outside of elements."""
        slots = self._slots_in(shown.elements).long()
        return torch.where((slots >= 0)[..., None], shown.shares[slots.clamp_min(0)], 0.0)

    def solid_share(self, solid: Blocks) -> Tensor:
        """See ``Blocks.share_at``; [R, S], cached for any cut."""
        volumes = [block.volume for block in solid.parts]
        if self._solid is None or list(map(id, self._solid[0])) != list(map(id, volumes)):
            self._solid = volumes, solid.share_at(self.positions)
        return self._solid[1]

    def without(self, left_out: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Composite the rays with some samples transparent: rgb [R, 3], depth, accumulation [R].

        Opacities are recovered from the weights, ``alpha_j = w_j / (1 - sum_{i<j} w_i)``, as far as
        light gets: nothing appears behind an opaque sample that is left out.

        Args:
            left_out: the samples that become transparent, bool [R, S].
            background: [3] in [0, 1]; None uses the last sample's color.
        """
        before = 1 - (self.weights.cumsum(dim=-1) - self.weights)
        alphas = (self.weights / before.clamp_min(_LEAST_LIGHT)).clamp(0, 1)
        alphas = torch.where(left_out | (before < _LEAST_LIGHT), 0.0, alphas)
        passed = torch.cumprod(1 - alphas, dim=-1)
        weights = alphas * torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=-1)
        accumulation = weights.sum(dim=-1)
        colors = self.colors.to(weights) / 255
        behind = colors[:, -1] if background is None else background
        rgb = (weights[..., None] * colors).sum(dim=-2) + (1 - accumulation[:, None]) * behind
        half = (weights.cumsum(dim=-1) < 0.5).sum(dim=-1).clamp_max(weights.shape[-1] - 1)
        depth = self.distances.gather(1, half[:, None])[:, 0]
        return rgb.clamp(0, 1), depth, accumulation


_STRIDES = (16, 8, 4, 2, 1)
"""Distance in pixels, in both directions, between the rays of each level."""
_PIXELS_PER_RAY = 4
"""Pixels tested per ray to render where only some rays are wanted: most are not."""


class Canvas:
    """The rays of one camera's image [H, W], rendered coarse to fine.

    Args:
        camera: one camera, at the image's size.
        render: renders rays; called for every ray at most once.
        wanted: returns which rays (origins, directions [R, 3]) to render, bool [R]; None: all.
        crop: limits the rays to this box.
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
        """Number of pixels whose rays are rendered or not wanted."""
        return sum(count for count, _ in list(self._parts))

    @property
    def stride(self) -> int | None:
        """Distance in pixels between rays of the finest complete level; None before the first."""
        complete = [s for s, end in zip(_STRIDES, self._ends, strict=True) if end <= self.done]
        return complete[-1] if complete else None

    @property
    def finished(self) -> bool:
        """True if the rays of all pixels are rendered."""
        return self.done == self.height * self.width

    @property
    def size_bytes(self) -> int:
        """Memory for the rays."""
        return sum(part.size_bytes for part in self.parts)

    def advance(self, rays: int) -> None:
        """Render about ``rays`` more pixels, at most to the end of the level.

        If an exception interrupts this, nothing has changed.
        """
        done = self.done
        level_end = next((end for end in self._ends if end > done), done)
        most = rays if self._wanted is None else _PIXELS_PER_RAY * rays
        end = min(level_end, done + most)
        pixels = self._order[done:end]
        bundle = self._bundle(pixels)
        if self._wanted is not None:
            wanted = self._wanted(bundle.origins, bundle.directions)
            pixels, bundle = pixels[wanted.cpu()], bundle[wanted]
        part = RaySamples.of(pixels, bundle, self._render(bundle)) if len(pixels) else None
        self._parts.append((end - done, part))

    def image(self, values: Tensor, fill: Tensor) -> Tensor:
        """Make an image [H, W, C] of values [R, C] of all rays so far.

        It is interpolated between the pixels of the finest complete level. Once only the last level
        is unfinished, its rays so far replace interpolated pixels.

        Args:
            fill: [H, W, C], used where no rays are wanted, and before the first level.
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
    """The canvases used last, as many as fit into memory."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._canvases: OrderedDict[tuple[Hashable, ...], Canvas] = OrderedDict()

    def __len__(self) -> int:
        return len(self._canvases)

    @property
    def size_bytes(self) -> int:
        """Memory for all of them."""
        return sum(canvas.size_bytes for canvas in self._canvases.values())

    def get(self, key: tuple[Hashable, ...], make: Callable[[], Canvas]) -> Canvas:
        """Return the canvas of a key, made if there is none, and note its use."""
        if key not in self._canvases:
            self._canvases[key] = make()
        self._canvases.move_to_end(key)
        return self._canvases[key]

    def finest(self, beginning: tuple[Hashable, ...]) -> Canvas | None:
        """Return the most complete canvas whose key begins like this; None if there is none."""
        alike = [key for key in self._canvases if key[: len(beginning)] == beginning]
        if not alike:
            return None
        best = max(alike, key=lambda key: self._canvases[key].done)
        self._canvases.move_to_end(best)
        return self._canvases[best]

    def shrink(self, kept: Sequence[Canvas], max_bytes: int | None = None) -> bool:
        """Delete the canvases not used for longest until the rest fits, but not those to keep.

        Returns:
            Whether any was deleted.
        """
        limit = self._max_bytes if max_bytes is None else max_bytes
        before = len(self._canvases)
        for key, canvas in list(self._canvases.items()):
            if self.size_bytes <= limit:
                break
            if all(canvas is not one for one in kept):
                del self._canvases[key]
        return len(self._canvases) < before

    def too_large(self, kept: Sequence[Canvas]) -> bool:
        """Return whether these alone take more memory than the cache may."""
        return sum(canvas.size_bytes for canvas in kept) > self._max_bytes


@lru_cache(maxsize=4)
def _coarse_to_fine(height: int, width: int) -> tuple[Tensor, tuple[int, ...]]:
    """Return all pixels, coarse levels first, int64 [H * W], and the end of each level."""
    row, column = torch.arange(height)[:, None], torch.arange(width)
    level = torch.full((height, width), len(_STRIDES) - 1)
    for number, stride in reversed(list(enumerate(_STRIDES))):
        level[(row % stride == 0) & (column % stride == 0)] = number
    ends = torch.bincount(level.flatten(), minlength=len(_STRIDES)).cumsum(0)
    return torch.argsort(level.flatten(), stable=True), tuple(ends.tolist())


def _interpolated(image: Tensor, stride: int) -> Tensor:
    """Interpolate an image [H, W, C] between every ``stride``-th pixel, which keep their values."""
    height, width = image.shape[:2]
    grid = image[::stride, ::stride].permute(2, 0, 1)[None]
    grid = functional.pad(grid, (0, 1, 0, 1), mode="replicate")
    size = ((grid.shape[2] - 1) * stride + 1, (grid.shape[3] - 1) * stride + 1)
    fine = functional.interpolate(grid, size, mode="bilinear", align_corners=True)
    return fine[0].permute(1, 2, 0)[:height, :width].contiguous()
