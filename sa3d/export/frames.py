"""The two frames exports can be in: Nerfstudio's, and the one the data set's poses came in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sa3d.export.config import Frame


@dataclass(frozen=True)
class Placement:
    """The frame an export is in, and the similarity [4, 4] (float64) from world to it."""

    frame: Frame
    matrix: np.ndarray

    @classmethod
    def nerfstudio(cls) -> Placement:
        """The run's world frame, as it is."""
        return cls("nerfstudio", np.eye(4))

    @classmethod
    def original(cls, transform: np.ndarray, scale: float) -> Placement:
        """The data set's own frame.

        Nerfstudio's dataparsers turn, centre and scale poses, ``p = scale * (R q + t)``; this is
        the way back, ``q = R^-1 (p / scale - t)``.

        Args:
            transform: [3, 4] ``(R | t)``, the dataparser's transform.
            scale: the dataparser's scale.
        """
        forward = np.eye(4)
        forward[:3] = np.asarray(transform, dtype=np.float64)[:3] * scale
        return cls("original", np.linalg.inv(forward))

    @property
    def scale(self) -> float:
        """Units of the frame per world unit."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])) ** (1 / 3))

    @property
    def mirrored(self) -> bool:
        """Whether the way into the frame turns left and right round."""
        return bool(np.linalg.det(self.matrix[:3, :3]) < 0)

    def points(self, world: np.ndarray) -> np.ndarray:
        """World points [N, 3] in the frame."""
        return world @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def directions(self, world: np.ndarray) -> np.ndarray:
        """Unit vectors [N, 3] in the frame, still of unit length."""
        turned = world @ self.matrix[:3, :3].T
        return turned / np.linalg.norm(turned, axis=1, keepdims=True).clip(1e-12)
