from __future__ import annotations

import pytest
import torch

from sa3d.geometry.bounds import Bounds
from sa3d.scene.elements import OUTSIDE, Elements, MaskGrid

GRID = MaskGrid(Bounds("box"), resolution=4)


def test_keys_by_hand() -> None:
    positions = torch.tensor(
        [[-1.0, -1.0, -1.0], [-0.9, -0.9, -0.4], [0.9, -0.4, 0.1], [1.1, 0.0, 0.0]]
    )
    assert GRID.keys(positions).tolist() == [0, 1, (3 * 4 + 1) * 4 + 2, OUTSIDE]


def test_the_far_face_is_outside() -> None:
    assert GRID.keys(torch.tensor([[1.0, 0.0, 0.0]])).tolist() == [OUTSIDE]


@pytest.mark.parametrize("kind", ["box", "contracted"])
def test_centres_have_their_own_key(kind) -> None:
    grid = MaskGrid(Bounds(kind), resolution=9)
    keys = torch.arange(9**3)
    assert torch.equal(grid.keys(grid.centers_world(keys)), keys)
    cells = grid.cells(keys)
    assert torch.equal((cells[:, 0] * 9 + cells[:, 1]) * 9 + cells[:, 2], keys)


def test_find_and_lookup() -> None:
    elements = Elements(GRID, torch.tensor([0, 1, 54]))
    assert len(elements) == 3
    assert elements.find(torch.tensor([[54, 0], [2, OUTSIDE]])).tolist() == [[2, 0], [-1, -1]]
    assert elements.find(torch.tensor([63])).tolist() == [-1]
    positions = torch.tensor([[0.9, -0.4, 0.1], [0.9, 0.9, 0.9], [5.0, 0.0, 0.0]])
    values = torch.tensor([0.1, 0.2, 0.3])
    assert elements.lookup(values, positions).tolist() == pytest.approx([0.3, 0.0, 0.0])
    columns = elements.lookup(torch.stack([values, -values], -1), positions, missing=9.0)
    assert columns[0].tolist() == pytest.approx([0.3, -0.3])
    assert columns[1:].tolist() == [[9.0, 9.0], [9.0, 9.0]]


def test_no_elements_at_all() -> None:
    elements = Elements(GRID, torch.empty(0, dtype=torch.int64))
    assert elements.find(torch.tensor([3, OUTSIDE])).tolist() == [-1, -1]
    assert elements.positions_world.shape == (0, 3)
    assert elements.lookup(torch.empty(0), torch.zeros(2, 3)).tolist() == [0.0, 0.0]


def test_positions_are_voxel_centres() -> None:
    elements = Elements(GRID, torch.tensor([0, 54]))
    assert elements.positions_world.tolist() == [[-0.75, -0.75, -0.75], [0.75, -0.25, 0.25]]
