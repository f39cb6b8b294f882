"""The two frames of exports: the world frame, and the original frame of the data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sa3d.export.config import Frame


@dataclass(frozen=True)
class Placement:
    """The frame of an export.

    Attributes:
        frame: ``"original"`` or ``"nerfstudio"`` (the world frame).
        matrix: float64 [4, 4], the similarity transform from the world frame to this frame.
    """

    frame: Frame
    matrix: np.ndarray

    @classmethod
    def nerfstudio(cls) -> Placement:
        """Return the placement in the world frame of the run."""
        return cls("nerfstudio", np.eye(4))

    @classmethod
    def original(cls, transform: np.ndarray, scale: float) -> Placement:
        """Return the placement in the frame of the data set's own camera poses.

        Nerfstudio's dataparsers rotate, center and scale poses, ``p = scale * (R q + t)``. This is
        the inverse, ``q = R^-1 (p / scale - t)``.

        Args:
            transform: [3, 4], ``(R | t)`` of the dataparser.
            scale: of the dataparser.
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
        """True if the transform into the frame mirrors, so that faces must be turned round."""
        return bool(np.linalg.det(self.matrix[:3, :3]) < 0)

    def points(self, world: np.ndarray) -> np.ndarray:
        """Transform world points [N, 3] to the frame."""
        return world @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def directions(self, world: np.ndarray) -> np.ndarray:
        """Transform unit vectors [N, 3] to the frame; they keep unit length."""
        turned = world @ self.matrix[:3, :3].T
        return turned / np.linalg.norm(turned, axis=1, keepdims=True).clip(1e-12)
