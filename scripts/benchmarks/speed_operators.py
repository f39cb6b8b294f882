"""Cost of view operators: updates, memory and pruning; a part of ``speed.py``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from sa3d.evaluation.baselines import sa3d_gradient_step
from sa3d.fields.radiance_field import RadianceField
from sa3d.geometry.camera import Camera
from sa3d.objects.inverse_rendering import Evidence, Vote
from sa3d.scene.scene import Scene
from sa3d.scene.view_operator import ViewOperator, build_view_operator

LAM = 1.0


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median time of this many calls, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        synchronise()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])  # the first warms up


def dense_autograd_step(operator: ViewOperator, volume: torch.Tensor, mask: torch.Tensor) -> None:
    """Make one update with autograd on a dense mask grid [V]: render, loss, backward, step."""
    volume.requires_grad_(True)
    ray = torch.repeat_interleave(
        torch.arange(operator.num_rays, device=mask.device), operator.crow.diff()
    )
    values = volume[operator.keys[operator.col]] * operator.weight
    rendered = torch.zeros_like(mask).index_add(0, ray, values)
    loss = -(mask * rendered).sum() + LAM * ((1 - mask) * rendered).sum()
    (gradient,) = torch.autograd.grad(loss, volume)
    with torch.no_grad():
        volume -= gradient
    volume.requires_grad_(False)


def update_rows(scene: Scene, repeats: int) -> dict[str, float]:
    """Time one view's update: closed form, autograd, and autograd with the NeRF evaluated."""
    prepared = scene.prepared(0)
    operator, camera = prepared.operator, prepared.camera
    mask = (torch.rand(operator.num_rays) > 0.5).float().to(scene.device)
    evidence = Evidence.zeros(len(scene.elements), scene.device)
    vote = Vote(mask, torch.ones_like(mask))
    volume = torch.zeros(scene.config.resolution**3, device=scene.device)

    def with_nerf() -> None:
        fresh, _ = build_view_operator(
            scene.field, camera, scene.grid, min_weight=scene.config.min_weight
        )
        dense_autograd_step(fresh.to(scene.device), volume, mask)

    return {
        "closed form, vote (F and T)": median_seconds(
            lambda: evidence.add(operator, vote), repeats
        ),
        "closed form, gradient step": median_seconds(
            lambda: sa3d_gradient_step(operator, mask, LAM), repeats
        ),
        "autograd on the dense grid": median_seconds(
            lambda: dense_autograd_step(operator, volume, mask), repeats
        ),
        "autograd, NeRF evaluated as SA3D does": median_seconds(with_nerf, max(1, repeats // 2)),
    }


def growth_rows(scene: Scene) -> list[tuple[str, str, float]]:
    """Return the memory of operators and evidence, in MiB, by views, resolution and objects."""
    rows = []
    for views in (len(scene.views) // 4, len(scene.views) // 2, len(scene.views)):
        operators = [scene.prepared(i).operator for i in range(views)]
        elements = len(torch.unique(torch.cat([o.keys for o in operators])))
        rows.append((f"{views} views", f"{elements:,} elements", _operator_mib(operators)))
    camera: Camera = scene.prepared(0).camera
    field_: RadianceField = scene.field
    for resolution in (128, 256, 512):
        grid = type(scene.grid)(field_.bounds, resolution)
        operator, _ = build_view_operator(field_, camera, grid, min_weight=scene.config.min_weight)
        text = f"{len(operator.keys):,} elements of {resolution**3:,} voxels"
        rows.append((f"one view at {resolution}^3", text, _operator_mib([operator])))
    for objects in (1, 5, 10):
        mib = objects * 2 * 4 * len(scene.elements) / 2**20
        rows.append((f"{objects} objects' evidence", f"{len(scene.elements):,} elements", mib))
    return rows


def _operator_mib(operators: list[ViewOperator]) -> float:
    tensors = [t for o in operators for t in (o.crow, o.col, o.weight, o.keys, o.element_ids)]
    return sum(t.numel() * t.element_size() for t in tensors) / 2**20


def pruning_rows(scene: Scene) -> list[tuple[float, float, float, float]]:
    """Return the cost of pruning: threshold, entries per ray, mean and 99th percentile error."""
    camera = scene.prepared(0).camera
    whole, _ = build_view_operator(scene.field, camera, scene.grid, min_weight=0.0)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((1, 1, 8, 8, 8), generator=generator)
    cells = scene.grid.cells(whole.keys).float() / scene.config.resolution * 2 - 1
    values = torch.nn.functional.grid_sample(
        coarse, cells.flip(-1)[None, None, None], align_corners=True
    ).reshape(-1)
    bound = whole.bind(whole.keys)
    exact = bound.render(values) / bound.accumulation.clamp_min(1e-6)
    rows = []
    for threshold in (0.001, 0.003, 0.01, 0.03, 0.1):
        pruned, _ = build_view_operator(scene.field, camera, scene.grid, min_weight=threshold)
        kept = pruned.bind(whole.keys)
        error = (kept.render(values) / kept.accumulation.clamp_min(1e-6) - exact).abs()
        rows.append(
            (
                threshold,
                len(pruned.col) / pruned.num_rays,
                float(error.mean()),
                float(error.quantile(0.99)),
            )
        )
    return rows
