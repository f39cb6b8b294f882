"""Results on a CPU do not depend on the number of threads, bit for bit."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from sa3d.export.config import MeshConfig
from sa3d.export.mesh import object_mesh
from sa3d.export.pointcloud import object_pointcloud
from sa3d.loop.session import Session
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.prompts import Prompt
from sa3d.results.calibration import FITTED
from sa3d.results.final_masks import final_masks
from sa3d.results.next_view import next_views
from sa3d.scene.view_operator import assemble
from sa3d.testing.analytic_scene import BALL, TABLE, analytic_scene
from sa3d.testing.oracle_segmenter import OracleSegmenter

GRAIN = 1 << 15
"""Torch divides work on so many values among its threads."""
SAME_BY_NATURE = ("empty", "view", "detach", "alias", "slice", "rand", "as_strided")


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ThreadCheck(TorchDispatchMode):
    """Repeats torch's long operations with 2 and 3 threads; keeps those that differ from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated = 0
        self.differing: set[str] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        call = (args, kwargs or {})
        size = max((t.numel() for t in tree_leaves(call) if isinstance(t, Tensor)), default=0)
        with threads(1):
            if size <= GRAIN or any(name in str(function) for name in SAME_BY_NATURE):
                return function(*call[0], **call[1])
            copies = [tree_map(_copied, call) for _ in range(2)]
            result = function(*call[0], **call[1])
        self.repeated += 1
        for number, again in zip((2, 3), copies, strict=True):
            with threads(number):
                other = function(*again[0], **again[1])
            values = zip(tree_leaves((result, call)), tree_leaves((other, again)), strict=True)
            if not all(_same(one, two) for one, two in values):
                frames = [f for f in traceback.extract_stack() if "/sa3d/" in f.filename]
                where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "a test"
                self.differing.add(f"{function} in {where}")
        return result


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _same(one: Any, two: Any) -> bool:
    if not isinstance(one, Tensor):
        return True
    nan = (one != one) & (two != two)
    return one.shape == two.shape and bool(((one == two) | nan).all())


def test_the_check_finds_a_sum_that_threads_divide() -> None:
    values = torch.rand(1_000_000, generator=torch.Generator().manual_seed(0))
    with ThreadCheck() as check:
        values.sum()
    assert any("sum" in one for one in check.differing)


def test_segmenting_and_what_follows_do_not_depend_on_threads(tmp_path: Path) -> None:
    wide = analytic_scene(
        tmp_path,
        {"ball": BALL, "table": TABLE},
        size=(224, 168),  # more rays than one thread takes
        num_views=3,
        num_samples=24,
        density=20.0,
    )
    scene, field = wide.scene, wide.field
    rendered = field.render(scene.prepared(0).camera.image_rays())
    name = scene.views[0].name
    oracle = OracleSegmenter(
        {view.name: view.image() for view in scene.views},
        {
            view.name: {shape: stack[i] for shape, stack in wide.masks.items()}
            for i, view in enumerate(scene.views)
        },
    )
    session = Session(scene, oracle)
    y, x = np.argwhere(wide.masks["ball"][0]).mean(axis=0)
    session.add_prompts([Prompt(name, "ball", points=((float(x), float(y)),), labels=(1,))])
    with ThreadCheck() as check:
        for _ in session.run():
            pass
        result = session.result()
        final_masks(scene, result, 1)
        next_views(scene, result, "ball")
        object_pointcloud(scene, result, "ball")
        object_mesh(scene, result, "ball", MeshConfig(samples_per_voxel=1, faces=None))
        assemble([rendered], scene.grid, 0.01)
    assert result.objects["ball"].converged
    assert check.repeated > 100
    assert not check.differing


def test_probabilities_do_not_depend_on_threads() -> None:
    random = torch.Generator().manual_seed(0)
    objects, beside = torch.rand(2, 3 * GRAIN + 5, generator=random)
    with ThreadCheck() as check:
        FITTED.probability(Evidence(objects, objects + beside))
    assert check.repeated > 3
    assert not check.differing
