"""Settings and choices of exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sa3d.base.errors import SA3DError

Frame = Literal["original", "nerfstudio"]
"""The frame of the data set's own camera poses, or the world frame of the run."""

ColorSource = Literal["photos", "nerf"]
"""Where the colors of a surface come from."""

TEXTURED_SUFFIXES = (".glb", ".obj", ".usdz", ".usd")
"""Of the formats of meshes that hold a texture."""
MESH_SUFFIXES = (*TEXTURED_SUFFIXES, ".ply", ".stl")
"""Of all formats of meshes. PLY holds vertex colors, STL holds none."""
POINTCLOUD_SUFFIXES = (".ply", ".pcd", ".npz")


@dataclass
class BoxConfig:
    """How a box is put around an object."""

    upright: bool = False
    """Keep one axis along the run's +z, its up; by default the box with the least volume."""
    min_group: float = 0.05
    """Stray points: a group of points about three voxels or more away from all others counts only
    if it holds this share of the largest group's points."""
    padding: float = 0.02
    """How far the --obb_* flags reach beyond every face, as a share of the longest side: ns-export
    keeps only what is strictly inside."""


@dataclass
class MeshConfig:
    """How a mesh is made."""

    samples_per_voxel: int = 3
    """Density samples along each side of a mask grid voxel."""
    cell_size: float | None = None
    """Distance of density samples in units of the frame, instead of samples_per_voxel."""
    density_level: float | None = None
    """Density of the surface, per world unit; by default a share of the NeRF's usual density where
    its depth maps show the object."""
    min_component: float = 0.05
    """Loose parts of which less is seen than this share of the most seen part are dropped."""
    smoothing: int = 3
    """Rounds of smoothing, which does not shrink."""
    faces: int | None = 20_000
    """Faces at most; more if the mesh would tear. None keeps all."""
    colors: ColorSource = "photos"
    """photos: from the photos that see a place best; nerf: rendered along the normals."""
    texture_size: int = 1024
    """Texels along the sides of the texture; 0 for colors per vertex."""

    def check(self) -> None:
        """Refuse settings that make no sense.

        Raises:
            SA3DError: naming the option.
        """
        for option, value, least in (
            ("samples-per-voxel", self.samples_per_voxel, 1),
            ("smoothing", self.smoothing, 0),
            ("faces", 4 if self.faces is None else self.faces, 4),
            ("texture-size", self.texture_size or 16, 16),
        ):
            if value < least:
                raise SA3DError(f"--mesh.{option} must be at least {least}, is {value}")
        if self.cell_size is not None and not self.cell_size > 0:
            raise SA3DError(f"--mesh.cell-size must be positive, is {self.cell_size}")


@dataclass
class PointCloudConfig:
    """How a point cloud is made."""

    count: int | None = None
    """Points per object, evenly spread; fewer if the views do not see as many."""
    spacing: float | None = None
    """Instead of a count: one point per cube of this side, in units of the output's frame. A voxel
    of the mask grid if neither is given."""
    neighbours: int = 16
    """Nearest voxels of the surface that define a point's normal, and whether a voxel is an
    outlier."""
    outlier_deviations: float = 4.0
    """A voxel whose mean distance to its neighbours exceeds the average by more than this many
    standard deviations is dropped, with all points in it."""

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            SA3DError: both a count and a spacing, or one that is not positive.
        """
        if self.count is not None and self.spacing is not None:
            raise SA3DError("a point cloud has a count or a spacing, not both: give one of them")
        for name, value in (("count", self.count), ("spacing", self.spacing)):
            if value is not None and not value > 0:
                raise SA3DError(f"the {name} of a point cloud must be above 0, not {value:g}")
        if self.neighbours < 1:
            raise SA3DError("a point cloud needs at least 1 neighbour per point")
