"""Settings and choices of exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from sa3d.base.errors import SA3DError
from sa3d.base.ranges import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, SHARE, Checked, Within

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
_LEAST_TEXTURE = 16


@dataclass
class BoxConfig(Checked, place="box"):
    """Settings for the box around an object."""

    upright: bool = False
    """Keep one axis along +z of the world frame, which is up; by default, find the least volume."""
    min_group: Annotated[float, SHARE] = 0.05
    """A group of points about three voxels or more away from all others counts only if it has at
    least this share of the points of the largest group."""
    padding: Annotated[float, NOT_NEGATIVE] = 0.02
    """Margin of the --obb_* flags at every face, as a share of the longest side: ns-export keeps
    only points strictly inside."""


@dataclass
class MeshConfig(Checked, place="mesh"):
    """Settings for a mesh."""

    samples_per_voxel: Annotated[int, AT_LEAST_ONE] = 3
    """Number of density samples along each side of a voxel of the mask grid."""
    cell_size: Annotated[float | None, POSITIVE] = None
    """Distance of density samples, in units of the frame; replaces samples_per_voxel."""
    density_level: Annotated[float | None, POSITIVE] = None
    """Density at the surface, per world unit; by default a share of the field's usual density at
    the surface that the depth maps show."""
    min_component: Annotated[float, SHARE] = 0.05
    """A loose part is dropped if fewer pixels show it than this share of the best seen part's."""
    smoothing: Annotated[int, NOT_NEGATIVE] = 3
    """Number of smoothing steps; smoothing does not shrink the mesh."""
    faces: Annotated[int | None, Within(4)] = 20_000
    """Number of faces at most; more if the mesh would tear. None keeps all."""
    colors: ColorSource = "photos"
    """photos: blended from the photos that see a point best; nerf: rendered along the normals."""
    texture_size: Annotated[int, NOT_NEGATIVE] = 1024
    """Side of the texture in texels; 0 for colors per vertex."""

    def check(self) -> None:
        """Check the settings.

        Raises:
            SA3DError: the texture is too small.
        """
        if 0 < self.texture_size < _LEAST_TEXTURE:
            raise SA3DError(
                f"'mesh.texture_size' must be at least {_LEAST_TEXTURE}, or 0 for none, is "
                f"{self.texture_size}"
            )


@dataclass
class PointCloudConfig(Checked, place="pointcloud"):
    """Settings for a point cloud."""

    count: Annotated[int | None, AT_LEAST_ONE] = None
    """Number of points per object, evenly spread; fewer if the views do not see as many."""
    spacing: Annotated[float | None, POSITIVE] = None
    """Side of the cubes that get one point each, in units of the frame; instead of ``count``. By
    default, each voxel of the mask grid gets one point."""
    neighbours: Annotated[int, AT_LEAST_ONE] = 16
    """Number of nearest surface voxels that define the normal of a point, and decide if a voxel is
    an outlier."""
    outlier_deviations: Annotated[float, NOT_NEGATIVE] = 4.0
    """A voxel is dropped, with all its points, if its mean distance to its neighbours exceeds the
    average by more than this many standard deviations."""

    def check(self) -> None:
        """Check the settings.

        Raises:
            SA3DError: both a count and a spacing are given.
        """
        if self.count is not None and self.spacing is not None:
            raise SA3DError("'pointcloud.count' and 'pointcloud.spacing' are both given: give one")
