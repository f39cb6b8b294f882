"""The view operator W: a sparse matrix, rays of one view x elements, evaluated once.

``W[p, i]`` is the sum of the rendering weights ``w_pj = T_j alpha_j`` of the samples of ray ``p``
that lie in element ``i``. ``W v`` renders element values as a mask, and ``W^T y`` splats a mask
onto the elements (mask inverse rendering; SA3D, Cen et al. 2023, sec. 3.2). The loss of that paper
is linear in the mask grid, so its gradient needs no autograd.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sa3d.base.array_files import ArrayKind, ascending
from sa3d.base.errors import SA3DError
from sa3d.base.narrowing import narrowed
from sa3d.fields.radiance_field import FieldRender, RadianceField
from sa3d.geometry.camera import Camera, Rays
from sa3d.scene.elements import OUTSIDE, MaskGrid


@dataclass(frozen=True)
class ViewOperator:
    """A sparse matrix [R, N] in compressed rows that stores only the n columns its view reaches.

    The columns of a new operator are voxel keys. ``bind`` assigns them to the N elements of a
    scene, which ``render`` and ``splat`` require.

    Attributes:
        crow: int64 [R + 1], the start of each ray's entries.
        col: int64 [nnz], the column of each entry, as a position in ``keys``.
        weight: float32 [nnz], rounded to half precision so that a cached operator is the same.
        keys: int64 [n], the voxel keys that this view reaches, ascending.
        element_ids: int64 [n], the scene's elements with these keys.
        num_elements: N, the number of elements of the scene.

    Example:
        >>> operator = scene.prepared(0).operator
        >>> mask = operator.render(probability)  # [N] to [R], ray by ray
        >>> votes = operator.splat(mask)  # [R] to [N]
    """

    crow: Tensor
    col: Tensor
    weight: Tensor
    keys: Tensor
    element_ids: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    num_elements: int = 0

    @property
    def num_rays(self) -> int:
        """Number of rays, R."""
        return self.crow.shape[0] - 1

    def bind(self, element_keys: Tensor) -> ViewOperator:
        """Return the same operator, bound to the elements of a scene.

        Args:
            element_keys: int64 [N], ascending; contains all of ``keys``.
        """
        ids = torch.searchsorted(element_keys, self.keys)
        return ViewOperator(self.crow, self.col, self.weight, self.keys, ids, len(element_keys))

    def to(self, device: str | torch.device) -> ViewOperator:
        """Return the operator on another device."""
        tensors = (self.crow, self.col, self.weight, self.keys, self.element_ids)
        return ViewOperator(*(t.to(device) for t in tensors), num_elements=self.num_elements)

    @cached_property
    def _matrix(self) -> Any:
        return _csr(self.crow, self.col, self.weight, (self.num_rays, len(self.keys)))

    @cached_property
    def _transposed(self) -> Any:
        if not isinstance(self._matrix, Tensor):
            return self._matrix.T
        order = torch.argsort(self.col, stable=True)
        counts = torch.bincount(self.col, minlength=len(self.keys))
        row = torch.repeat_interleave(
            torch.arange(self.num_rays, device=self.col.device), self.crow.diff()
        )
        crow = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return _csr(crow, row[order], self.weight[order], (len(self.keys), self.num_rays))

    @cached_property
    def accumulation(self) -> Tensor:
        """Sum of the stored weights of each ray, [R]: ``W 1``."""
        return self.render_local(torch.ones_like(self.keys, dtype=torch.float32))

    @cached_property
    def element_weights(self) -> Tensor:
        """Sum of the weights of each of the view's own elements over all rays, [n]: ``W^T 1``."""
        return self.splat_local(torch.ones(self.num_rays, device=self.weight.device))

    def render(self, values: Tensor) -> Tensor:
        """Render element values [N] or [N, K]: ``W v``, [R] or [R, K]."""
        return self.render_local(values[self.element_ids])

    def render_local(self, values: Tensor) -> Tensor:
        """Render values [n] or [n, K] of the view's own elements: ``W v``, [R] or [R, K].

        The values are in the order of ``element_ids``.
        """
        return _product(self._matrix, values)

    def splat(self, per_ray: Tensor) -> Tensor:
        """Splat ray values [R] or [R, K] onto the elements: ``W^T y``, [N] or [N, K]."""
        out = per_ray.new_zeros((self.num_elements, *per_ray.shape[1:]))
        out[self.element_ids] = self.splat_local(per_ray)
        return out

    def splat_local(self, per_ray: Tensor) -> Tensor:
        """Splat ray values [R] or [R, K] onto the view's own elements: ``W^T y``, [n] or [n, K].

        The result is in the order of ``element_ids``.
        """
        return _product(self._transposed, per_ray)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the operator as small arrays for the scene cache; ``from_arrays`` reads them."""
        return {
            "crow": narrowed(self.crow.cpu().numpy(), np.int32, "lower 'prepare.ray_side'"),
            "col": narrowed(self.col.cpu().numpy(), np.int32, "lower 'prepare.ray_side'"),
            "weight": self.weight.cpu().numpy().astype(np.float16),
            "keys": self.keys.cpu().numpy(),
        }

    @staticmethod
    def array_kinds(num_rays: int) -> dict[str, ArrayKind]:
        """Return types and shapes of ``arrays``, for an operator with so many rays."""
        return {
            "crow": ("int32", (num_rays + 1,)),
            "col": ("int32", ("entries",)),
            "weight": ("float16", ("entries",)),
            "keys": ("int64", ("columns",)),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], voxels: int) -> ViewOperator:
        """Return the unbound operator that ``arrays`` stored.

        Args:
            arrays: of the types and shapes of ``array_kinds``.
            voxels: the number of voxels in the grid.

        Raises:
            SA3DError: the arrays are not those of an operator; torch would read outside of them.
        """
        crow, col, keys = arrays["crow"], arrays["col"], arrays["keys"]
        rows = crow[0] == 0 and crow[-1] == len(col) and (crow[1:] >= crow[:-1]).all()
        columns = not len(col) or (col.min() >= 0 and col.max() < len(keys))
        if not rows or not columns or not ascending(keys, voxels) or (arrays["weight"] < 0).any():
            raise SA3DError("its rows, columns, weights or voxels are not those of a view")
        return cls(
            crow=torch.from_numpy(arrays["crow"].astype(np.int64)),
            col=torch.from_numpy(arrays["col"].astype(np.int64)),
            weight=torch.from_numpy(arrays["weight"].astype(np.float32)),
            keys=torch.from_numpy(arrays["keys"].astype(np.int64)),
        )


def _csr(crow: Tensor, col: Tensor, value: Tensor, shape: tuple[int, int]) -> Any:
    """Return a sparse matrix: scipy's on the CPU, else torch's.

    Torch's product on a CPU depends on the number of threads in the last digits, takes many times
    as long when the cores are busy, and needs MKL. One thread of scipy's is as fast as one of its.
    """
    if value.device.type == "cpu":
        from scipy.sparse import csr_array

        return csr_array((value.numpy(), col.numpy(), crow.numpy()), shape=shape)
    with warnings.catch_warnings():  # torch warns once per process that its CSR layout is beta
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(crow, col, value, shape)


def _product(matrix: Any, values: Tensor) -> Tensor:
    """Multiply a sparse matrix with values [n] or [n, K], column by column.

    So a column's product does not depend on the other columns. The product is fastest if each
    column is contiguous in memory, as in the result.
    """
    if values.ndim == 2:
        return torch.stack([_product(matrix, c.contiguous()) for c in values.unbind(-1)]).T
    if isinstance(matrix, Tensor):
        return matrix @ values
    return torch.from_numpy(matrix @ values.numpy())


@dataclass(frozen=True)
class ViewRender:
    """One view as rendered by the field, at the operator's resolution, on the CPU.

    Attributes:
        rgb: [h, w, 3] in [0, 1].
        depth: [h, w] distance along the ray, world units.
        accumulation: [h, w] sum of the rendering weights, in [0, 1].
    """

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
    """Evaluate the field for one view: one ray for each pixel of the camera.

    Args:
        field: the radiance field.
        camera: at the operator's resolution.
        grid: the mask grid.
        min_weight: smaller weights of a ray in a voxel are dropped.
        chunk: rays per call of the field; does not change the result.

    Returns:
        The unbound operator, and the rendered view.

    Raises:
        SA3DError: a weight, a color or a depth is not finite.
    """
    rays = camera.image_rays()
    renders = [
        field.render(rays[start : start + chunk], camera.index)
        for start in range(0, len(rays), chunk)
    ]
    outputs = [(r.weights, r.rgb, r.depth, r.accumulation) for r in renders]
    if not all(bool(torch.isfinite(values).all()) for one in outputs for values in one):
        raise SA3DError(
            "the field renders NaN because its training diverged: open an earlier checkpoint, or "
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
    """Assemble the samples of consecutive bundles of rays into one operator, on the CPU.

    The weights of a ray's samples in one voxel are added first and pruned after, so that a dense
    sampling does not drop a surface.

    Args:
        renders: bundles of rays, in the order of the operator's rows.
        grid: the mask grid.
        min_weight: smaller weights of a ray in a voxel are dropped.

    Returns:
        The unbound operator.
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
    """Return the points [R, 3], world frame, at ``depth`` [R], the distance along each ray."""
    return rays.origins + rays.directions * depth.reshape(-1, 1)
