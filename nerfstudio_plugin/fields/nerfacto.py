"""Wraps a trained nerfacto model as a ``RadianceField``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields

import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.model_components.renderers import RGBRenderer
from nerfstudio.models.nerfacto import NerfactoModel
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.fields.radiance_field import FieldRender
from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Rays

_RENDERING_OPTIONS = (
    "average_init_density",
    "background_color",
    "base_res",
    "disable_scene_contraction",
    "far_plane",
    "features_per_level",
    "implementation",
    "log2_hashmap_size",
    "max_res",
    "num_levels",
    "num_nerf_samples_per_ray",
    "num_proposal_iterations",
    "num_proposal_samples_per_ray",
    "proposal_initial_sampler",
    "proposal_net_args_list",
    "use_average_appearance_embedding",
    "use_same_proposal_network",
)
"""The options of ``NerfactoModelConfig`` that change what given weights render."""

_POINTS_PER_CHUNK = 1 << 18


class NerfactoRadianceField:
    """A frozen nerfacto model in evaluation mode, rendered with its own sampler and density.

    Rays start at the camera (Nerfstudio drops the near plane outside training) and end at the
    model's far plane. Depth is nerfacto's ``depth`` output, the *median*: the distance at which
    half of the ray's light is accumulated. Unlike the expected depth it never lies in the air
    between two surfaces. Colors use the mean appearance embedding, as nerfacto's own evaluation
    does, so the camera index has no influence.

    Args:
        model: in evaluation mode, on its device; never changed.
        rays_per_chunk: rays evaluated at once; limits memory, does not change results. None takes
            the fastest number: few on a CPU (its caches hold them), many on a GPU.
    """

    def __init__(self, model: NerfactoModel, *, rays_per_chunk: int | None = None) -> None:
        if rays_per_chunk is None:
            rays_per_chunk = 512 if model.device.type == "cpu" else 1 << 15
        if rays_per_chunk < 1:
            raise ValueError(f"rays_per_chunk must be positive, is {rays_per_chunk}")
        self._model = model.eval()
        self._bounds = _bounds(model)
        self._fingerprint = ""
        self._rays_per_chunk = rays_per_chunk

    @property
    def device(self) -> torch.device:
        """The device of the model, and of all results."""
        return self._model.device

    @property
    def rays_per_chunk(self) -> int:
        """Rays evaluated at once."""
        return self._rays_per_chunk

    @property
    def bounds(self) -> Bounds:
        """The space of nerfacto's hash grid.

        With scene contraction the model contracts world positions to [-2, 2]^3 and ignores its
        scene box. Without it, the box is the space, and there is no density outside.
        """
        return self._bounds

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the weights and the options that shape the rendering."""
        if not self._fingerprint:
            self._fingerprint = _fingerprint(self._model)
        return self._fingerprint

    @torch.no_grad()
    def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
        """Render rays as the model itself does.

        Args:
            rays: R rays, world frame, any device.
            camera_index: ignored (see the class).

        Returns:
            The rendering on the field's device; all rays have the same number of samples.

        Raises:
            SA3DError: the density is NaN somewhere along the rays.
        """
        chunks = [
            self._render_chunk(rays[start : start + self._rays_per_chunk])
            for start in range(0, len(rays), self._rays_per_chunk)
        ]
        if not chunks:
            samples = self._model.config.num_nerf_samples_per_ray
            empty = torch.zeros(0, device=self.device)
            return FieldRender(
                rgb=empty.reshape(0, 3),
                depth=empty,
                accumulation=empty,
                positions=empty.reshape(0, samples, 3),
                weights=empty.reshape(0, samples),
                sample_rgb=empty.reshape(0, samples, 3),
            )
        return FieldRender(
            rgb=torch.cat([chunk.rgb for chunk in chunks]),
            depth=torch.cat([chunk.depth for chunk in chunks]),
            accumulation=torch.cat([chunk.accumulation for chunk in chunks]),
            positions=torch.cat([chunk.positions for chunk in chunks]),
            weights=torch.cat([chunk.weights for chunk in chunks]),
            sample_rgb=torch.cat([c.sample_rgb for c in chunks if c.sample_rgb is not None]),
        )

    def _render_chunk(self, rays: Rays) -> FieldRender:
        bundle = RayBundle(
            origins=rays.origins.to(self.device, torch.float32).contiguous(),
            directions=rays.directions.to(self.device, torch.float32).contiguous(),
            pixel_area=torch.ones(len(rays), 1, device=self.device),
            camera_indices=torch.zeros(len(rays), 1, dtype=torch.long, device=self.device),
        )
        return self.render_bundle(bundle)

    @torch.no_grad()
    def render_bundle(
        self,
        bundle: RayBundle,
        keep: Callable[[Tensor], Tensor] | None = None,
        background: Tensor | None = None,
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
        model = self._model
        density_fns = model.density_fns
        if keep is not None:
            density_fns = [_scaled(density_fn, keep) for density_fn in density_fns]
        assert model.collider is not None
        samples, _, _ = model.proposal_sampler(model.collider(bundle), density_fns=density_fns)
        positions = samples.frustums.get_positions()
        density, features = model.field.get_density(samples)
        _reject_nan(density)
        if keep is not None:
            density = density * keep(positions)[..., None]
        weights = samples.get_weights(density)
        colors = model.field.get_outputs(samples, density_embedding=features)[FieldHeadNames.RGB]
        if background is None:
            rgb = model.renderer_rgb(rgb=colors, weights=weights)
        else:
            rgb = RGBRenderer.combine_rgb(colors, weights, background).clamp(0, 1)
        return FieldRender(
            rgb=rgb,
            depth=model.renderer_depth(weights=weights, ray_samples=samples)[..., 0],
            accumulation=model.renderer_accumulation(weights=weights)[..., 0],
            positions=positions,
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
        parts = [
            self._model.field.density_fn(chunk)[..., 0]
            for chunk in positions.split(_POINTS_PER_CHUNK)
            if len(chunk)
        ]
        density = torch.cat(parts) if parts else torch.zeros(0, device=self.device)
        _reject_nan(density)
        return density


def _bounds(model: NerfactoModel) -> Bounds:
    contraction = model.field.spatial_distortion
    if contraction is not None:
        return Bounds("contracted" if contraction.order == float("inf") else "contracted-l2")
    low, high = model.field.aabb.tolist()
    return Bounds("box", aabb=(tuple(low), tuple(high)))


def _fingerprint(model: NerfactoModel) -> str:
    known = {field.name for field in fields(model.config)}
    options = {name: getattr(model.config, name) for name in _RENDERING_OPTIONS if name in known}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key}:{value.dtype}:{tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().cpu().numpy().data)
    return digest.hexdigest()


def _scaled(
    density_fn: Callable[[Tensor], Tensor], keep: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    def scaled(positions: Tensor) -> Tensor:
        return density_fn(positions) * keep(positions)[..., None]

    return scaled


def _reject_nan(density: Tensor) -> None:
    if torch.isnan(density).any():
        raise SA3DError(
            "the field has NaN densities: its training diverged; open an earlier checkpoint, or "
            "train again with a smaller learning rate"
        )
