"""Settings and choices of exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sa3d.base.errors import SA3DError

Frame = Literal["original", "nerfstudio"]
"""The frame of the data set's own camera poses, or the world frame of the run."""

ColorSource = Literal["photos", "nerf"]
"""The source of the colors of a surface."""

TEXTURED_SUFFIXES = (".glb", ".obj", ".usdz", ".usd")
"""Suffixes of the mesh formats with a texture."""
MESH_SUFFIXES = (*TEXTURED_SUFFIXES, ".ply", ".stl")
"""Suffixes of all mesh formats. PLY has colors per vertex, STL has none."""
POINTCLOUD_SUFFIXES = (".ply", ".pcd", ".npz")
"""Suffixes of the point cloud formats."""


@dataclass
class BoxConfig:
    """Settings for the box around an object."""

    upright: bool = False
    """Keep one axis along +z of the world frame, which is up; by default, find the least volume."""
    min_group: float = 0.05
    """A group of points about three voxels or more away from all others counts only if it has at
    least this share of the points of the largest group."""
    padding: float = 0.02
    """Margin of the --obb_* flags at every face, as a share of the longest side: ns-export keeps
    only points strictly inside."""


@dataclass
class MeshConfig:
    """Settings for a mesh."""

    samples_per_voxel: int = 3
    """Number of density samples along each side of a voxel of the mask grid."""
    cell_size: float | None = None
    """Distance of density samples, in units of the frame; replaces samples_per_voxel."""
    density_level: float | None = None
    """Density at the surface, per world unit; by default a share of the field's usual density at
    the surface that the depth maps show."""
    min_component: float = 0.05
    """A loose part is dropped if fewer pixels show it than this share of the best seen part's."""
    smoothing: int = 3
    """Number of smoothing steps; smoothing does not shrink the mesh."""
    faces: int | None = 20_000
    """Number of faces at most; more if the mesh would tear. None keeps all."""
    colors: ColorSource = "photos"
    """photos: blended from the photos that see a point best; nerf: rendered along the normals."""
    texture_size: int = 1024
    """Side of the texture in texels; 0 for colors per vertex."""

    def check(self) -> None:
        """Check the settings.

        Raises:
            SA3DError: a setting is too small.
        """
        for option, value, least in (
            ("samples_per_voxel", self.samples_per_voxel, 1),
            ("smoothing", self.smoothing, 0),
            ("faces", 4 if self.faces is None else self.faces, 4),
            ("texture_size", self.texture_size or 16, 16),
        ):
            if value < least:
                raise SA3DError(f"'mesh.{option}' must be at least {least}, is {value}")
        if self.cell_size is not None and not self.cell_size > 0:
            raise SA3DError(f"'mesh.cell_size' must be positive, is {self.cell_size}")


@dataclass
class PointCloudConfig:
    """Settings for a point cloud."""

    count: int | None = None
    """Number of points per object, evenly spread; fewer if the views do not see as many."""
    spacing: float | None = None
    """Side of the cubes that get one point each, in units of the frame; instead of ``count``. By
    default, each voxel of the mask grid gets one point."""
    neighbours: int = 16
    """Number of nearest surface voxels that define the normal of a point, and decide if a voxel is
    an outlier."""
    outlier_deviations: float = 4.0
    """A voxel is dropped, with all its points, if its mean distance to its neighbours exceeds the
    average by more than this many standard deviations."""

    def check(self) -> None:
        """Check the settings.

        Raises:
            SA3DError: both a count and a spacing are given, or a number is not positive.
        """
        if self.count is not None and self.spacing is not None:
            raise SA3DError("'pointcloud.count' and 'pointcloud.spacing' are both given: give one")
        for name, value in (("count", self.count), ("spacing", self.spacing)):
            if value is not None and not value > 0:
                raise SA3DError(f"'pointcloud.{name}' must be positive, is {value:g}")
        if self.neighbours < 1:
            raise SA3DError(f"'pointcloud.neighbours' must be at least 1, is {self.neighbours}")
