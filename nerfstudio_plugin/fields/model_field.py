"""A frozen Nerfstudio model as a ``RadianceField``; a method adds how it samples its rays."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, replace
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.model_components.renderers import RGBRenderer
from nerfstudio.models.base_model import Model
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.fields.radiance_field import FieldRender
from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Rays

_Model = TypeVar("_Model", bound=Model)
Keep = Callable[[Tensor], Tensor]
"""Returns a factor [...] in [0, 1] for the density at positions [..., 3], world frame."""

_POINTS_PER_CHUNK = 1 << 18
"""Positions whose density is evaluated at once; limits memory."""
_PIXEL_AREA = 1e-6
"""Of rays that no camera made: that of a photo with 1000 pixels per radian."""
_TRAINING_ONLY = ("_target", "camera_optimizer", "eval_num_rays_per_chunk", "loss_coefficients")


class ModelField(ABC, Generic[_Model]):
    """A frozen model in evaluation mode, rendered with its own sampler and density.

    A subclass implements ``sample`` and ``density_fn``, and ``find_bounds`` if the model has no
    scene box. Colors, depth and accumulation come from the model's own renderers.

    Args:
        model: in evaluation mode, on its device; never changed.
        rays_per_chunk: rays evaluated at once; limits memory, does not change results. None takes
            the fastest number: few on a CPU (its caches hold them), many on a GPU.
    """

    rendering_options: ClassVar[tuple[str, ...] | None] = None
    """The options of the model's config that change what given weights render; None: all."""

    def __init__(self, model: _Model, *, rays_per_chunk: int | None = None) -> None:
        if rays_per_chunk is None:
            rays_per_chunk = 512 if model.device.type == "cpu" else 1 << 15
        if rays_per_chunk < 1:
            raise ValueError(f"rays_per_chunk must be positive, is {rays_per_chunk}")
        self.check_config(model.config)
        self.model: _Model = model.eval()
        self._bounds = self.find_bounds()
        self._fingerprint = ""
        self._rays_per_chunk = rays_per_chunk

    @classmethod
    def check_config(cls, config: Any) -> None:
        """Refuse options of the model's config that the field cannot render; by default none.

        Raises:
            SA3DError: there is one; the message says which.
        """

    @classmethod
    def fit_config(cls, config: Any, weights: dict[str, Tensor]) -> None:
        """Set options of a model's config that the weights know better; by default none."""

    @abstractmethod
    def sample(self, bundle: RayBundle, keep: Keep | None) -> tuple[RaySamples, Tensor, Tensor]:
        """Sample rays as the model does in evaluation mode.

        Args:
            bundle: R rays on the model's device; near and far ends may be set.
            keep: multiplies every density of the model, that of its samplers, too.

        Returns:
            S samples of each ray from near to far, their rendering weights [R, S, 1], and their
            colors [R, S, 3] in [0, 1].
        """

    @abstractmethod
    def density_fn(self, positions_world: Tensor) -> Tensor:
        """Return the volume density [N], per world unit, at positions [N, 3], N > 0."""

    def find_bounds(self) -> Bounds:
        """Return the space of the model; by default its scene box."""
        return bounds_of(None, self.model.scene_box.aabb)

    def render_color(self, weights: Tensor, colors: Tensor) -> Tensor:
        """Return the model's color [R, 3] of samples, with its own background."""
        model: Any = self.model
        return model.renderer_rgb(rgb=colors, weights=weights)

    def render_depth(self, weights: Tensor, samples: RaySamples) -> Tensor:
        """Return the model's depth [R, 1] along the rays."""
        model: Any = self.model
        return model.renderer_depth(weights=weights, ray_samples=samples)

    @property
    def device(self) -> torch.device:
        """The device of the model, and of all results."""
        return self.model.device

    @property
    def rays_per_chunk(self) -> int:
        """Rays evaluated at once."""
        return self._rays_per_chunk

    @property
    def bounds(self) -> Bounds:
        """The space of the model: see ``find_bounds``."""
        return self._bounds

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the weights and the options that shape the rendering."""
        if not self._fingerprint:
            self._fingerprint = self._hash()
        return self._fingerprint

    @torch.no_grad()
    def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
        """Render rays as the model itself does in evaluation mode.

        Args:
            rays: R rays, world frame, any device.
            camera_index: ignored: in evaluation mode, models use no image's own embedding.

        Returns:
            The rendering on the field's device.

        Raises:
            SA3DError: the density is NaN somewhere along the rays.
        """
        if not len(rays):
            one = self._render_chunk(Rays(torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]])))
            return replace(one, **{name: value[:0] for name, value in vars(one).items()})
        chunks = [
            self._render_chunk(rays[start : start + self._rays_per_chunk])
            for start in range(0, len(rays), self._rays_per_chunk)
        ]
        return FieldRender(
            rgb=torch.cat([chunk.rgb for chunk in chunks]),
            depth=torch.cat([chunk.depth for chunk in chunks]),
            accumulation=torch.cat([chunk.accumulation for chunk in chunks]),
            positions=_padded([chunk.positions for chunk in chunks]),
            weights=_padded([chunk.weights[..., None] for chunk in chunks])[..., 0],
            sample_rgb=_padded([c.sample_rgb for c in chunks if c.sample_rgb is not None]),
        )

    def _render_chunk(self, rays: Rays) -> FieldRender:
        area = rays.pixel_area
        if area is None:
            area = torch.full((len(rays),), _PIXEL_AREA)
        bundle = RayBundle(
            origins=rays.origins.to(self.device, torch.float32).contiguous(),
            directions=rays.directions.to(self.device, torch.float32).contiguous(),
            pixel_area=area.to(self.device, torch.float32)[:, None],
            camera_indices=torch.zeros(len(rays), 1, dtype=torch.long, device=self.device),
        )
        return self.render_bundle(bundle)

    @torch.no_grad()
    def render_bundle(
        self, bundle: RayBundle, keep: Keep | None = None, background: Tensor | None = None
    ) -> FieldRender:
        """Render Nerfstudio's own rays, all at once; near and far ends are kept if they are set.

        Args:
            bundle: R rays on the field's device.
            keep: returns a factor [...] for the density at positions [..., 3]. Samples are placed
                by the remaining density, so surfaces behind a removed part are sampled as finely
                as others. None keeps everything.
            background: RGB [3] in [0, 1] behind everything; None takes the model's own.

        Raises:
            SA3DError: the density is NaN somewhere along the rays.
        """
        model: Any = self.model
        if model.collider is not None:
            bundle = model.collider(bundle)
        samples, weights, colors = self.sample(bundle, keep)
        if background is None:
            rgb = self.render_color(weights, colors)
        else:
            rgb = RGBRenderer.combine_rgb(colors, weights, background).clamp(0, 1)
        return FieldRender(
            rgb=rgb,
            depth=self.render_depth(weights, samples)[..., 0],
            accumulation=model.renderer_accumulation(weights=weights)[..., 0],
            positions=samples.frustums.get_positions(),
            weights=weights[..., 0],
            sample_rgb=colors,
        )

    @torch.no_grad()
    def density(self, positions_world: Tensor) -> Tensor:
        """Return the volume density [N], per world unit, at positions [N, 3] in the world frame.

        Raises:
            SA3DError: the density is NaN at a position.
        """
        positions = positions_world.to(self.device, torch.float32)
        if not len(positions):
            return torch.zeros(0, device=self.device)
        parts = [self.density_fn(chunk) for chunk in positions.split(_POINTS_PER_CHUNK)]
        return without_nan(torch.cat(parts))

    def _hash(self) -> str:
        config = self.model.config
        known = [field.name for field in fields(config) if field.name not in _TRAINING_ONLY]
        names = known if self.rendering_options is None else self.rendering_options
        options = {name: getattr(config, name) for name in names if name in known}
        text = json.dumps(options, sort_keys=True, default=_plain)
        digest = hashlib.sha256(text.encode())
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(f"{key}:{value.dtype}:{tuple(value.shape)}".encode())
            digest.update(value.detach().contiguous().cpu().numpy().data)
        return digest.hexdigest()


def bounds_of(contraction: Any, aabb: Any) -> Bounds:
    """Return the space of a field: all of space through its contraction, or else its box.

    Args:
        contraction: a ``SceneContraction``, or None.
        aabb: [2, 3], the corners of the box.
    """
    if contraction is not None:
        return Bounds("contracted" if contraction.order == float("inf") else "contracted-l2")
    low, high = aabb.tolist()
    return Bounds("box", aabb=(tuple(low), tuple(high)))


def without_nan(density: Tensor) -> Tensor:
    """Return densities, or raise.

    Raises:
        SA3DError: one of them is NaN.
    """
    if torch.isnan(density).any():
        raise SA3DError(
            "the field has NaN densities: its training diverged; open an earlier checkpoint, or "
            "train again with a smaller learning rate"
        )
    return density


def scaled(density_fn: Callable[[Tensor], Tensor], keep: Keep | None) -> Callable[[Tensor], Tensor]:
    """Return a density function, from positions [..., 3] to [..., 1], times what is kept."""
    if keep is None:
        return density_fn
    return lambda positions: density_fn(positions) * keep(positions)[..., None]


def kept_density(density: Tensor, samples: RaySamples, keep: Keep | None) -> Tensor:
    """Return the densities [R, S, 1] of samples times what is kept at their positions.

    Raises:
        SA3DError: one of them is NaN.
    """
    density = without_nan(density)
    if keep is None:
        return density
    return density * keep(samples.frustums.get_positions())[..., None]


def _padded(chunks: list[Tensor]) -> Tensor:
    """Join chunks [R, S, C] whose S differ; further samples are 0."""
    longest = max(chunk.shape[1] for chunk in chunks)
    return torch.cat([F.pad(chunk, (0, 0, 0, longest - chunk.shape[1])) for chunk in chunks])


def _plain(value: Any) -> Any:
    """Return an option's value as JSON can hold it; the same in every process.

    Raises:
        TypeError: a value has no such form.
    """
    if isinstance(value, (Enum, PurePath, type)):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return list(value)
