"""Triangle meshes with colors per vertex or a texture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sa3d.export.frames import Placement


@dataclass(frozen=True)
class Texture:
    """The colors of a mesh.

    Attributes:
        picture: uint8 [H, W, 3] RGB.
        uv: float64 [T, 2] in [0, 1]; (0, 0) is the picture's lower left corner.
        faces: int64 [F, 3] into ``uv``, each of which belongs to one vertex of the mesh.
    """

    picture: np.ndarray
    uv: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class Mesh:
    """Triangles.

    Attributes:
        vertices: float64 [V, 3].
        faces: int64 [F, 3], facing outward.
        colors: uint8 [V, 3] RGB; None if the mesh has a texture or no colors.
        texture: instead of ``colors``.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    texture: Texture | None = None

    def placed(self, placement: Placement) -> Mesh:
        """This mesh, in the world frame, taken to another one."""
        vertices = placement.points(self.vertices)
        if not placement.mirrored:
            return replace(self, vertices=vertices)
        texture = self.texture and replace(self.texture, faces=self.texture.faces[:, ::-1].copy())
        return replace(self, vertices=vertices, faces=self.faces[:, ::-1].copy(), texture=texture)
