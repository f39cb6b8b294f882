"""The two frames exports can be in: Nerfstudio's, and the one the data set's poses came in."""

from __future__ import annotations

from typing import Literal

import numpy as np

Frame = Literal["original", "nerfstudio"]


def world_to_original(transform: np.ndarray, scale: float) -> np.ndarray:
    """The similarity from the scene's world frame to the data set's own, float64 [4, 4].

    Nerfstudio's dataparsers turn, centre and scale poses, ``p = scale * (R q + t)``; this is the
    way back, ``q = R^-1 (p / scale - t)``.

    Args:
        transform: [3, 4] ``(R | t)``, the dataparser's transform.
        scale: the dataparser's scale.
    """
    forward = np.eye(4)
    forward[:3] = np.asarray(transform, dtype=np.float64)[:3] * scale
    return np.linalg.inv(forward)


def frame_matrix(frame: Frame, to_original: np.ndarray | None) -> np.ndarray:
    """The matrix [4, 4] from world to the frame asked for.

    Raises:
        ValueError: an unknown frame, or the original one without ``to_original``.
    """
    if frame == "nerfstudio":
        return np.eye(4)
    if frame != "original":
        raise ValueError(f"unknown frame {frame!r}: 'original' or 'nerfstudio'")
    if to_original is None:
        raise ValueError("frame 'original' needs world_to_original")
    return np.asarray(to_original, dtype=np.float64)


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [N, 3] under a similarity [4, 4]."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def transform_directions(matrix: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Unit vectors [N, 3] under a similarity [4, 4], still of unit length."""
    turned = directions @ matrix[:3, :3].T
    return turned / np.linalg.norm(turned, axis=1, keepdims=True).clip(1e-12)
