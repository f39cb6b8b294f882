"""Generated scenes differ by seed and are as documented."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from sa3d.testing.random_scene import APART, largest_in_first_view, random_scene, random_shapes


@pytest.mark.parametrize("seed", range(20))
def test_solids_stand_on_the_table_apart_from_each_other(seed: int) -> None:
    shapes = random_shapes(seed)
    assert shapes == random_shapes(seed)
    assert shapes != random_shapes(seed + 1)
    axis = torch.linspace(-0.99, 0.99, 40)
    points = torch.cartesian_prod(axis, axis, axis)
    inside = {name: shape.signed_distance(points) < APART / 2 for name, shape in shapes.items()}
    solids = [name for name in shapes if name != "table"]
    assert 2 <= len(solids) <= 4
    for name in solids:
        assert inside[name].any()
    for one, other in itertools.combinations(solids, 2):
        assert not (inside[one] & inside[other]).any()


def test_the_largest_solid_of_the_first_photo_is_prompted(tmp_path: Path) -> None:
    scene = random_scene(tmp_path, 3, num_views=3, size=(32, 24), resolution=16)
    name = largest_in_first_view(scene)
    assert name != "table"
    areas = {one: np.count_nonzero(mask[0]) for one, mask in scene.masks.items()}
    assert areas[name] == max(area for one, area in areas.items() if one != "table") > 0
