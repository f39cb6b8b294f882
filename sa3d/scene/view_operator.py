"""The view operator W: rays of one view x elements, sparse, evaluated from the NeRF once.

``W[p, i]`` is the sum of the rendering weights ``w_pj = T_j alpha_j`` of ray ``p``'s samples that
lie in element ``i``. Rendering a mask is ``W v``, inverse rendering is ``W^T y`` (SA3D, Cen et al.
2023, sec. 3.2: the loss is linear in the mask grid, so its gradient needs no autograd).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.fields.radiance_field import FieldRender, RadianceField
from sa3d.geometry.camera import Camera, Rays
from sa3d.scene.elements import OUTSIDE, MaskGrid


@dataclass(frozen=True)
class ViewOperator:
    """A sparse matrix [R, N] in compressed rows, with its own short list of columns.

    Attributes:
        crow: int64 [R + 1], where each ray's entries start.
        col: int64 [nnz], position in ``keys`` of each entry.
        weight: float32 [nnz], half precision values (so that a cached operator is the same one).
        keys: int64 [n], ascending voxel keys this view touches.
        element_ids: int64 [n], the elements of the scene behind ``keys``; set by ``bind``.
        num_elements: N, the number of elements of the scene.
    """

    crow: Tensor
    col: Tensor
    weight: Tensor
    keys: Tensor
    element_ids: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    num_elements: int = 0

    @property
    def num_rays(self) -> int:
        """R."""
        return self.crow.shape[0] - 1

    def bind(self, element_keys: Tensor) -> ViewOperator:
        """The same operator with columns numbered among all of the scene's elements.

        Args:
            element_keys: int64 [N], ascending, a superset of ``keys``.
        """
        ids = torch.searchsorted(element_keys, self.keys)
        return ViewOperator(self.crow, self.col, self.weight, self.keys, ids, len(element_keys))

    def to(self, device: str | torch.device) -> ViewOperator:
        """The operator on another device."""
        tensors = (self.crow, self.col, self.weight, self.keys, self.element_ids)
        return ViewOperator(*(t.to(device) for t in tensors), num_elements=self.num_elements)

    @cached_property
    def _matrix(self) -> Tensor:
        return _csr(self.crow, self.col, self.weight, (self.num_rays, len(self.keys)))

    @cached_property
    def _transposed(self) -> Tensor:
        order = torch.argsort(self.col, stable=True)
        counts = torch.bincount(self.col, minlength=len(self.keys))
        row = torch.repeat_interleave(
            torch.arange(self.num_rays, device=self.col.device), self.crow.diff()
        )
        crow = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return _csr(crow, row[order], self.weight[order], (len(self.keys), self.num_rays))

    @cached_property
    def accumulation(self) -> Tensor:
        """Weight per ray that survived pruning, [R]."""
        return self.render_local(torch.ones_like(self.keys, dtype=torch.float32))

    @cached_property
    def element_weights(self) -> Tensor:
        """Weight that each of the view's own elements has in all rays together, [n]: ``W^T 1``."""
        return self.splat_local(torch.ones(self.num_rays, device=self.weight.device))

    def render(self, values: Tensor) -> Tensor:
        """``W v``: element values [N] or [N, K] to pixel sums [R] or [R, K]."""
        return self.render_local(values[self.element_ids])

    def render_local(self, values: Tensor) -> Tensor:
        """``W v`` from this view's own elements, [n] or [n, K], as ``element_ids``."""
        return _product(self._matrix, values)

    def splat(self, per_ray: Tensor) -> Tensor:
        """``W^T y``: pixel values [R] or [R, K] to element sums [N] or [N, K]."""
        out = per_ray.new_zeros((self.num_elements, *per_ray.shape[1:]))
        out[self.element_ids] = self.splat_local(per_ray)
        return out

    def splat_local(self, per_ray: Tensor) -> Tensor:
        """``W^T y`` on this view's own elements only: [n] or [n, K], as ``element_ids``."""
        return _product(self._transposed, per_ray)

    def arrays(self) -> dict[str, np.ndarray]:
        """What ``from_arrays`` needs, compactly typed, for the scene cache."""
        return {
            "crow": self.crow.cpu().numpy().astype(np.int32),
            "col": self.col.cpu().numpy().astype(np.int32),
            "weight": self.weight.cpu().numpy().astype(np.float16),
            "keys": self.keys.cpu().numpy(),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> ViewOperator:
        """An unbound operator from stored arrays."""
        return cls(
            crow=torch.from_numpy(arrays["crow"].astype(np.int64)),
            col=torch.from_numpy(arrays["col"].astype(np.int64)),
            weight=torch.from_numpy(arrays["weight"].astype(np.float32)),
            keys=torch.from_numpy(arrays["keys"].astype(np.int64)),
        )


def _csr(crow: Tensor, col: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():  # torch announces its CSR layout as beta, once per process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(crow, col, value, shape)


def _product(matrix: Tensor, values: Tensor) -> Tensor:
    """A sparse matrix times [n] or [n, K], column by column.

    On a CPU ten times as fast as torch's product with all columns: an element is in few rays, and
    reading its K values costs more than a second look at the matrix. Fastest with columns that lie
    in memory one after the other, as the result's do.
    """
    if values.ndim == 1:
        return matrix @ values
    return torch.stack([matrix @ column.contiguous() for column in values.unbind(-1)]).T


@dataclass(frozen=True)
class ViewRender:
    """What the NeRF says about one view, at operator resolution: [h, w, 3], [h, w], [h, w]."""

    rgb: Tensor
    depth: Tensor
    accumulation: Tensor


def build_view_operator(
    field: RadianceField,
    camera: Camera,
    grid: MaskGrid,
    *,
    min_weight: float,
    chunk: int = 1 << 12,
) -> tuple[ViewOperator, ViewRender]:
    """Evaluate one view of the field, ``camera.height * camera.width`` rays, in chunks of rays.

    Args:
        min_weight: entries below this share of a ray's light are dropped.
        chunk: rays per call of the field; does not change the result.

    Raises:
        SA3DError: a rendering weight is not a number.
    """
    rays = camera.image_rays()
    renders = [
        field.render(rays[start : start + chunk], camera.index)
        for start in range(0, len(rays), chunk)
    ]
    if not all(bool(torch.isfinite(render.weights).all()) for render in renders):
        raise SA3DError(
            "the NeRF renders NaN: its training diverged; open an earlier checkpoint, or "
            "train again"
        )
    operator = assemble(renders, grid, min_weight)
    shape = (camera.height, camera.width)
    return operator, ViewRender(
        rgb=torch.cat([r.rgb for r in renders]).cpu().reshape(*shape, 3),
        depth=torch.cat([r.depth for r in renders]).cpu().reshape(shape),
        accumulation=torch.cat([r.accumulation for r in renders]).cpu().reshape(shape),
    )


def assemble(renders: Iterable[FieldRender], grid: MaskGrid, min_weight: float) -> ViewOperator:
    """Prune and sum the samples of consecutive bundles of rays into one operator, on the CPU.

    Samples of one ray in one voxel are added first and pruned after, so that finely sampled
    surfaces are not pruned for being finely sampled.
    """
    volume = grid.resolution**3
    counts, keys, weights = [], [], []
    for render in renders:
        sample_keys = grid.keys(render.positions)
        num_rays = sample_keys.shape[0]
        ray = torch.arange(num_rays, device=sample_keys.device)[:, None]
        kept = (sample_keys != OUTSIDE) & (render.weights > 0)
        pair, inverse = torch.unique((ray * volume + sample_keys)[kept], return_inverse=True)
        summed = render.weights.new_zeros(len(pair)).index_add_(0, inverse, render.weights[kept])
        enough = summed >= min_weight
        pair = pair[enough]
        counts.append(torch.bincount(pair // volume, minlength=num_rays).cpu())
        keys.append((pair % volume).cpu())
        weights.append(summed[enough].half().float().cpu())
    per_ray = torch.cat(counts)
    unique_keys, col = torch.unique(torch.cat(keys), return_inverse=True)
    return ViewOperator(
        crow=torch.cat([per_ray.new_zeros(1), per_ray.cumsum(0)]),
        col=col,
        weight=torch.cat(weights),
        keys=unique_keys,
    )


def unproject(rays: Rays, depth: Tensor) -> Tensor:
    """World points [R, 3] at ``depth`` [R] (distance along the rays)."""
    return rays.origins + rays.directions * depth.reshape(-1, 1)
