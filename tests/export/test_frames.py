from __future__ import annotations

import numpy as np
import pytest

from sa3d.export.frames import Placement

TURN = np.array([[0.0, -1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0]])


def test_inverse_by_hand() -> None:
    # q = (1, 0, 0): rotated to (0, 1, 0), moved to (1, 3, 3), scaled to (2, 6, 6).
    back = Placement.original(TURN, 2.0)
    np.testing.assert_allclose(back.points(np.array([[2.0, 6.0, 6.0]])), [[1, 0, 0]])
    np.testing.assert_allclose(back.directions(np.array([[0.0, 1.0, 0.0]])), [[1, 0, 0]])
    assert back.scale == pytest.approx(0.5)
    assert not back.mirrored


def test_mirrored_frame() -> None:
    assert Placement.original(np.diag([1.0, -1.0, 1.0, 1.0])[:3], 3.0).mirrored


def test_the_world_frame_is_the_identity() -> None:
    world = Placement.nerfstudio()
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(world.points(points), points)
    assert world.scale == pytest.approx(1.0)
