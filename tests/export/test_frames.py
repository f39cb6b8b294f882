from __future__ import annotations

import numpy as np
import pytest

from sa3d.export.frames import (
    frame_matrix,
    transform_directions,
    transform_points,
    world_to_original,
)

TURN = np.array([[0.0, -1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0]])


def test_way_back_by_hand() -> None:
    # q = (1, 0, 0): turned to (0, 1, 0), moved to (1, 3, 3), scaled to (2, 6, 6).
    back = world_to_original(TURN, 2.0)
    np.testing.assert_allclose(transform_points(back, np.array([[2.0, 6.0, 6.0]])), [[1, 0, 0]])
    np.testing.assert_allclose(transform_directions(back, np.array([[0.0, 1.0, 0.0]])), [[1, 0, 0]])


def test_frames() -> None:
    back = world_to_original(TURN, 2.0)
    np.testing.assert_array_equal(frame_matrix("nerfstudio", back), np.eye(4))
    np.testing.assert_array_equal(frame_matrix("original", back), back)
    with pytest.raises(ValueError, match="needs world_to_original"):
        frame_matrix("original", None)
    with pytest.raises(ValueError, match="unknown frame 'blender'"):
        frame_matrix("blender", back)  # type: ignore[arg-type]
