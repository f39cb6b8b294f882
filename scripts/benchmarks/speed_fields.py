"""Rays per second of nerfacto on a CPU, before and after; a part of ``speed.py``.

    python scripts/benchmarks/speed_fields.py --grids

The weights are random: the time of a ray does not depend on them.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from nerfstudio.configs.method_configs import method_configs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.field_components.encodings import HashEncoding
from nerfstudio.models.nerfacto import NerfactoModelConfig

from nerfstudio_plugin.demo.data import open_demo
from nerfstudio_plugin.fields import cpu_modules
from nerfstudio_plugin.fields.nerfacto import NerfactoRadianceField
from nerfstudio_plugin.runs.config_file import read_run_config
from nerfstudio_plugin.runs.model_building import tcnn_modules, without_lpips
from sa3d.geometry.camera import Camera, Rays
from sa3d.tcnn import fused_grid

RAYS = 1024
POINTS = 1 << 15
SIZES = {"demo": "that of the demo runs", "default": "of `ns-train nerfacto`"}
Implementation = Literal["torch", "tcnn"]


def model_config(size: str) -> NerfactoModelConfig:
    """Return the options of a nerfacto of one of ``SIZES``."""
    if size == "demo":
        config = read_run_config(open_demo("garden").load_config).pipeline.model
    else:
        method: Any = method_configs["nerfacto"]
        config = deepcopy(method.pipeline.model)
    assert isinstance(config, NerfactoModelConfig)
    return config


def random_field(size: str, implementation: Implementation) -> NerfactoRadianceField:
    """Return a field with random weights."""
    torch.manual_seed(0)
    config = model_config(size)
    config.implementation = implementation
    box = SceneBox(torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]))
    with without_lpips(), tcnn_modules(implementation, "torch", torch.device("cpu")):
        model = config.setup(scene_box=box, num_train_data=10, metadata={}, device="cpu")
    for parameter in model.parameters():
        if parameter.numel():
            torch.nn.init.normal_(parameter, std=0.3)
    cpu_modules.speed_up(model)
    return NerfactoRadianceField(model)


@contextmanager
def as_before() -> Iterator[None]:
    """Evaluate by Nerfstudio's code and plain torch inside."""
    modules: tuple[Any, ...] = (fused_grid, cpu_modules)
    originals = [module.is_possible for module in modules]
    for module in modules:
        module.is_possible = lambda *tensors: False
    try:
        yield
    finally:
        for module, original in zip(modules, originals, strict=True):
            module.is_possible = original


def some_rays() -> Rays:
    """Return the rays of a small image."""
    pose = torch.eye(4)[:3]
    pose[:, 3] = torch.tensor([0.1, -0.2, 1.0])
    side = math.isqrt(RAYS)
    return Camera(pose, side, side, side / 2, side / 2, side, side).image_rays()


def alternating(functions: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Return the median seconds of each function, called in turn, after one call to warm up."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [statistics.median(times[1:]) for times in seconds]


def field_rows(repeats: int) -> list[dict[str, Any]]:
    """Return rays per second of each size and implementation, and how much colors differ."""
    rays, rows = some_rays(), []
    for size in SIZES:
        for implementation in ("torch", "tcnn"):
            field = random_field(size, implementation)

            def before(field: NerfactoRadianceField = field) -> Any:
                with as_before():
                    return field.render(rays)

            def after(field: NerfactoRadianceField = field) -> Any:
                return field.render(rays)

            difference = float((before().rgb - after().rgb).abs().max())
            slow, fast = alternating([before, after], repeats)
            rows.append(
                {
                    "size": size,
                    "implementation": implementation,
                    "before": len(rays) / slow,
                    "after": len(rays) / fast,
                    "difference": difference,
                }
            )
    return rows


def field_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table of ``field_rows``."""
    return [
        "| nerfacto on a CPU, weights of | rays per second before | after | times | largest "
        "difference of a color |",
        "|---|---|---|---|---|",
        *(
            f"| {row['implementation']}, size {SIZES[row['size']]} | {row['before']:,.0f} "
            f"| {row['after']:,.0f} | {row['after'] / row['before']:.1f} "
            f"| {row['difference']:.0e} |"
            for row in rows
        ),
        "",
    ]


def grid_rows(repeats: int) -> dict[str, float]:
    """Return nanoseconds per point of nerfacto's 16 levels, by each way to compute them."""
    grid = HashEncoding(num_levels=16, max_res=2048, implementation="torch")
    points = torch.rand(POINTS // 32, 1, 3) * 0.9 + torch.rand(1, 32, 3) * 0.05
    points = points.reshape(-1, 3).contiguous()
    plain = grid.pytorch_fwd
    compiled = torch.compile(plain, dynamic=False)
    fused = cpu_modules._FusedGrid(grid)
    ways = {
        "Nerfstudio's code in torch": lambda: plain(points),
        "the same, torch.compile (C++ by inductor; needs a compiler)": lambda: compiled(points),
        "one pass, numba": lambda: fused(points),
    }
    with torch.no_grad():
        seconds = alternating(list(ways.values()), repeats)
    return {name: 1e9 * one / POINTS for name, one in zip(ways, seconds, strict=True)}


@dataclass
class Options:
    """Command-line options."""

    repeats: int = 5
    """Repetitions; the median counts."""
    grids: bool = False
    """Also time the ways to compute one hash grid; torch.compile needs a C++ compiler."""
    output: Path | None = None
    """File of the tables; printed only by default."""


def main(options: Options) -> None:
    """Measure and print."""
    lines = field_table(field_rows(options.repeats))
    if options.grids:
        rows = grid_rows(options.repeats)
        lines += ["| hash grid of 16 levels | ns per point |", "|---|---|"]
        lines += [f"| {name} | {value:,.0f} |" for name, value in rows.items()]
    text = "\n".join([f"{torch.get_num_threads()} threads", "", *lines])
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
