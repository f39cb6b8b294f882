"""Meshes of objects: marching cubes over the density of the field inside an object."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.base.storage import check_new_file
from sa3d.export.config import MeshConfig
from sa3d.export.frames import Placement
from sa3d.export.isosurface import isosurface
from sa3d.export.mesh_cleanup import decimated, smoothed, solid_parts, vertex_normals
from sa3d.export.mesh_files import Mesh, Texture, holds_texture, mesh_files, write_mesh
from sa3d.export.occupancy import occupancy
from sa3d.export.surface import surface_points
from sa3d.export.surface_colors import surface_colors
from sa3d.export.texture import covered_texels, painted, unfolded
from sa3d.objects.segmentation import Segmentation
from sa3d.results.object_volume import ObjectVolume, cell_size, object_volume
from sa3d.scene.scene import Scene

_MAX_CELLS = 1 << 32


def export_mesh(
    scene: Scene,
    segmentation: Segmentation,
    name: str,
    path: Path,
    *,
    placement: Placement,
    config: MeshConfig | None = None,
    overwrite: bool = False,
) -> Mesh:
    """Write the surface of an object in the format of the suffix, one of ``MESH_SUFFIXES``.

    GLB, OBJ, USD and USDZ get a texture, PLY gets colors per vertex, STL gets none. OBJ and USD
    write further files beside ``path``; see ``mesh_files``.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with the object.
        name: of the object.
        path: of the file.
        placement: frame in which the mesh is written.
        config: settings.
        overwrite: replace files that exist.

    Returns:
        The written mesh, in the frame of ``placement``.

    Raises:
        SA3DError: the object is empty, a setting or the suffix is wrong, or a file exists and
            ``overwrite`` is False.

    Example:
        >>> placement = Placement.nerfstudio()
        >>> export_mesh(scene, segmentation, "mug", Path("mug.glb"), placement=placement)
    """
    config = config or MeshConfig()
    config.check()
    files = mesh_files(path, textured=config.texture_size > 0)
    for file in files:
        check_new_file(file, overwrite)
    size = config.texture_size if holds_texture(path) else 0
    mesh = object_mesh(scene, segmentation, name, config, placement.scale, texture_size=size)
    mesh = mesh.placed(placement)
    write_mesh(path, mesh)
    return mesh


def object_mesh(
    scene: Scene,
    segmentation: Segmentation,
    name: str,
    config: MeshConfig | None = None,
    scale: float = 1.0,
    *,
    texture_size: int = 0,
) -> Mesh:
    """Make the mesh of an object, in the world frame.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with the object.
        name: of the object.
        config: settings; ``config.texture_size`` is not used.
        scale: units of ``config.cell_size`` per world unit.
        texture_size: side of the texture in texels; 0 for colors per vertex.

    Raises:
        SA3DError: the object is empty, or a setting is wrong.
    """
    config = config or MeshConfig()
    volume = object_volume(scene, segmentation, name)
    points = surface_points(scene, segmentation, name, volume)
    occupied = occupancy(
        scene,
        volume,
        points,
        per_voxel=_samples_per_voxel(scene, volume, config, scale),
        level=config.density_level,
    )
    lattice, faces = isosurface(occupied.sample, occupied.shape)
    if len(faces) == 0:
        raise SA3DError(
            f"object {name!r} has no density inside, so there is no mesh: add prompts to it"
        )
    vertices = occupied.to_world(lattice).numpy()
    vertices, faces = solid_parts(vertices, faces, points.positions.numpy(), config.min_component)
    if config.smoothing > 0:
        vertices = smoothed(vertices, faces, config.smoothing)
    if config.faces is not None:
        vertices, faces = decimated(vertices, faces, config.faces)
    normals = vertex_normals(vertices, faces)

    def colors(positions: np.ndarray, outward: np.ndarray) -> np.ndarray:
        source = config.colors
        return surface_colors(scene, segmentation, name, volume, positions, outward, source)

    if texture_size == 0:
        return Mesh(vertices, faces, colors=colors(vertices, normals))
    atlas = unfolded(vertices, faces, texture_size)
    texels = covered_texels(atlas)
    outward = texels.interpolated(faces, normals)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True).clip(1e-12)
    rgb = colors(texels.interpolated(faces, vertices), outward)
    texture = Texture(painted(atlas.size, texels.index, rgb), atlas.uv, atlas.faces)
    return Mesh(vertices, faces, texture=texture)


def _samples_per_voxel(
    scene: Scene, volume: ObjectVolume, config: MeshConfig, scale: float
) -> float:
    """Return the number of lattice points along the side of a voxel.

    Raises:
        SA3DError: there are too many cells, or they are larger than voxels.
    """
    count = float(config.samples_per_voxel)
    if config.cell_size is not None:
        middle = (volume.share > 0.5).nonzero().double().mean(dim=0).float() + volume.corner
        voxel = cell_size(scene.grid, middle[None] / scene.grid.resolution)
        count = float(voxel[0]) * scale / config.cell_size
    if count < 1:
        raise SA3DError("a mesh needs at least one sample per voxel: lower 'mesh.cell_size'")
    if volume.share.numel() * count**3 > _MAX_CELLS:
        raise SA3DError(
            "the mesh would have too many cells: raise 'mesh.cell_size' or lower "
            "'mesh.samples_per_voxel'"
        )
    return count
