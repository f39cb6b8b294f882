"""The field of instant-ngp, with a marcher that needs no CUDA."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from nerfstudio.cameras.rays import Frustums, RayBundle, RaySamples
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.models.instant_ngp import NGPModel
from torch import Tensor

from nerfstudio_plugin.fields.model_field import Keep, ModelField, bounds_of, kept_density
from sa3d.geometry.bounds import Bounds


class InstantNgpRadianceField(ModelField[NGPModel]):
    """A frozen instant-ngp model.

    Samples are the steps of the model's marcher whose middles lie in occupied cells of its
    occupancy grid. Where nerfacc has no compiled kernels for them, as on a CPU, they are computed
    in torch. Depth is the model's own, the *expected* distance. In evaluation mode the model uses
    no image's appearance.
    """

    def find_bounds(self) -> Bounds:
        """Return the space of the hash grid: contracted, or the scene box."""
        return bounds_of(self.model.field.spatial_distortion, self.model.field.aabb)

    @classmethod
    def fit_config(cls, config: Any, weights: dict[str, Tensor]) -> None:
        """Set the appearance option by the weights: Nerfstudio 1.1 reads it the other way round."""
        has_appearance = "field.embedding_appearance.embedding.weight" in weights
        config.use_appearance_embedding = not has_appearance

    def sample(self, bundle: RayBundle, keep: Keep | None) -> tuple[RaySamples, Tensor, Tensor]:
        """Sample the occupied cells along the rays; rays with fewer samples end with empty ones."""
        ray, starts, ends, packed = self._march(bundle)
        count = torch.bincount(ray, minlength=len(bundle))
        first = torch.cumsum(count, 0) - count
        place = torch.arange(len(ray), device=ray.device) - first[ray]
        longest = max(1, int(count.max()))
        density = starts.new_zeros(len(bundle), longest, 1)
        colors = starts.new_zeros(len(bundle), longest, 3)
        if len(ray):
            outputs = self.model.field(packed)
            density[ray, place] = outputs[FieldHeadNames.DENSITY]
            colors[ray, place] = outputs[FieldHeadNames.RGB].to(colors)
        edges = [self._spread(one, ray, place, count, longest) for one in (starts, ends)]
        samples = bundle.get_ray_samples(bin_starts=edges[0], bin_ends=edges[1])
        return samples, samples.get_weights(kept_density(density, samples, keep)), colors

    def density_fn(self, positions_world: Tensor) -> Tensor:
        """Return the density of the field where the occupancy grid is set; elsewhere 0."""
        density = self.model.field.density_fn(positions_world)[..., 0]
        return density * self._occupied(positions_world)

    def _box(self, level: int) -> tuple[Tensor, Tensor]:
        """Return the corners of a level of the occupancy grid, [3] each."""
        aabbs = self.model.occupancy_grid.aabbs
        assert isinstance(aabbs, Tensor)
        return aabbs[level, :3], aabbs[level, 3:]

    def _march(self, bundle: RayBundle) -> tuple[Tensor, Tensor, Tensor, RaySamples]:
        """Return the ray of each sample, where the samples start and end, and the samples."""
        config = self.model.config
        if self.device.type == "cuda" and _has_kernels():
            packed, ray = self.model.sampler(
                ray_bundle=bundle,
                near_plane=config.near_plane,
                far_plane=config.far_plane,
                render_step_size=config.render_step_size,
                alpha_thre=config.alpha_thre,
                cone_angle=config.cone_angle,
            )
            return ray, packed.frustums.starts[:, 0], packed.frustums.ends[:, 0], packed
        assert config.render_step_size is not None
        low, high = self._box(-1)
        farthest = (bundle.origins - (low + high) / 2).norm(dim=-1) + (high - low).norm() / 2
        reach = min(float(farthest.max()), config.far_plane)
        steps = torch.from_numpy(
            _steps_to(reach, config.near_plane, config.render_step_size, config.cone_angle)
        ).to(bundle.origins)
        middle = (steps[:-1] + steps[1:]) / 2
        places = bundle.origins[:, None] + bundle.directions[:, None] * middle[:, None]
        inside = self._occupied(places) & self._within(bundle, middle)
        ray, number = inside.nonzero(as_tuple=True)
        starts, ends = steps[number], steps[number + 1]
        assert bundle.camera_indices is not None
        packed = RaySamples(
            frustums=Frustums(
                origins=bundle.origins[ray],
                directions=bundle.directions[ray],
                starts=starts[:, None],
                ends=ends[:, None],
                pixel_area=bundle.pixel_area[ray],
            ),
            camera_indices=bundle.camera_indices[ray],
        )
        return ray, starts, ends, packed

    def _within(self, bundle: RayBundle, middle: Tensor) -> Tensor:
        """Return [R or 1, K]: whether steps are before the far plane and between rays' ends."""
        before = (middle < self.model.config.far_plane)[None]
        if bundle.nears is None or bundle.fars is None:
            return before
        return before & (middle >= bundle.nears) & (middle <= bundle.fars)

    def _occupied(self, positions: Tensor) -> Tensor:
        """Return whether the finest cell at positions [..., 3] is occupied; outside it is not.

        Each level of the grid has twice the size of the one before, around the same center.
        """
        grid = self.model.occupancy_grid
        low, high = self._box(0)
        centered = (positions - (low + high) / 2) / (high - low)  # the first box: -0.5 to 0.5
        level = torch.frexp(2 * centered.abs().amax(dim=-1))[1].clamp_min(0).long()
        known = level < grid.levels
        level = level.clamp_max(grid.levels - 1)
        resolution = torch.tensor(grid.binaries.shape[1:], device=positions.device)
        unit = centered / 2 ** level[..., None] + 0.5
        cell = (unit * resolution).long().clamp_min(0).minimum(resolution - 1)
        return grid.binaries[level, cell[..., 0], cell[..., 1], cell[..., 2]] & known

    def _spread(
        self, packed: Tensor, ray: Tensor, place: Tensor, count: Tensor, longest: int
    ) -> Tensor:
        """Return values [N] of samples as [R, S, 1]; after a ray's last one, that one again."""
        near = self.model.config.near_plane
        spread = packed.new_full((len(count), longest), near)
        spread[ray, place] = packed
        last = (count - 1).clamp_min(0)[:, None]
        beyond = torch.arange(longest, device=packed.device) > last
        return torch.where(beyond, spread.gather(1, last), spread)[..., None]


def _has_kernels() -> bool:
    """Return whether nerfacc found a compiler for its CUDA code."""
    from nerfacc.cuda import _backend  # compiles when it is imported

    return _backend._C is not None


def _steps_to(reach: float, near: float, size: float, cone_angle: float) -> np.ndarray:
    """Return the ends of the marcher's steps [K + 1], at least one step, up to ``reach``."""
    doubled = 2.0 ** math.ceil(math.log2(max(reach, size)))  # few lists are made, and kept
    ends = _steps(near, doubled, size, cone_angle)
    return ends[: max(2, int(np.searchsorted(ends, reach)) + 1)]


@cache
def _steps(near: float, far: float, size: float, cone_angle: float) -> np.ndarray:
    """Return the ends of the marcher's steps [K + 1], float32: ``dt = max(t cone_angle, size)``."""
    ends = [np.float32(near)]
    while ends[-1] < far:
        ends.append(ends[-1] + max(ends[-1] * np.float32(cone_angle), np.float32(size)))
    if len(ends) == 1:
        ends.append(ends[0] + np.float32(size))
    return np.array(ends, np.float32)
