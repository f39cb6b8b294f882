"""Watertight meshes of the still lifes, standing on z = 0 around the z axis (scene units)."""

from collections.abc import Sequence

import numpy as np
import trimesh
from scipy.interpolate import CubicSpline

Profile = Sequence[tuple[float, float]]


def rounded(points: Profile, count: int) -> list[tuple[float, float]]:
    """Return a smooth curve `[count]` through points (r, z), parametrised by chord length."""
    knots = np.asarray(points, dtype=float)
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    curve = CubicSpline(chord, knots)(np.linspace(0.0, chord[-1], count))
    low, high = knots[:, 1].min(), knots[:, 1].max()
    return [(float(max(r, 0.0)), float(np.clip(z, low, high))) for r, z in curve]


def lathe(profile: Profile, sections: int = 64) -> trimesh.Trimesh:
    """Return a solid of revolution from (radius, z) points that start and end on the axis."""
    mesh = trimesh.creation.revolve(np.asarray(profile, dtype=float), sections=sections)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def standing(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Shift a mesh up so that its lowest point is at z = 0."""
    mesh.apply_translation([0.0, 0.0, -float(mesh.bounds[0, 2])])
    return mesh


def block(x: float, y: float, z: float) -> trimesh.Trimesh:
    """Return a box of the given sizes."""
    return standing(trimesh.creation.box(extents=(x, y, z)))


def ellipsoid(x: float, y: float, z: float) -> trimesh.Trimesh:
    """Return an ellipsoid with the given half axes."""
    mesh = trimesh.creation.icosphere(subdivisions=4)
    mesh.apply_scale([x, y, z])
    return standing(mesh)


def ring(radius: float, tube: float) -> trimesh.Trimesh:
    """Return a torus that lies flat; `radius` reaches to the middle of the tube."""
    return standing(trimesh.creation.torus(radius, tube, major_sections=72, minor_sections=28))


def _outside_of(
    mesh: trimesh.Trimesh, radius: float, tube: float, offset: float, z: float
) -> trimesh.Trimesh:
    """Return a handle: the part of a torus around (offset, 0, z) outside of `mesh`'s hull."""
    handle = trimesh.creation.torus(radius, tube, major_sections=48, minor_sections=16)
    handle.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    handle.apply_translation([offset, 0.0, z])
    return trimesh.boolean.difference([handle, mesh], engine="manifold")


def mug(
    outer: Profile, wall: float, handle_radius: float, handle_tube: float, handle_z: float
) -> trimesh.Trimesh:
    """Return an open vessel with a wall and one handle (a hole) towards +x.

    `outer` runs from the foot to the rim; the inside is the same curve, `wall` further in.
    """
    curve = [(r, z) for r, z in outer if r > 2 * wall]
    rim = curve[-1]
    inner = [(r - wall, max(z, 2 * wall)) for r, z in reversed(curve)]
    vessel = lathe([(0.0, outer[0][1]), *curve, *inner, (0.0, 2 * wall)])
    filled = lathe([(0.0, outer[0][1]), *[(r - wall / 2, z) for r, z in curve], (0.0, rim[1])])
    reach = float(np.interp(handle_z, [z for _, z in curve], [r for r, _ in curve]))
    handle = _outside_of(filled, handle_radius, handle_tube, reach, handle_z)
    return trimesh.boolean.union([vessel, handle], engine="manifold")


def hoop(radius: float, tube: float, foot: float) -> trimesh.Trimesh:
    """Return a thin upright arch in the xz plane on a flat round foot at each end."""
    arch = trimesh.creation.torus(radius, tube, major_sections=96, minor_sections=16)
    arch.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    arch = trimesh.boolean.intersection(
        [arch, trimesh.creation.box(bounds=[[-1, -1, 0.005], [1, 1, 1]])], engine="manifold"
    )
    feet = []
    for side in (-radius, radius):
        disc = lathe([(0.0, 0.0), (foot, 0.0), (foot, 0.02), (0.0, 0.02)], sections=32)
        disc.apply_translation([side, 0.0, 0.0])
        feet.append(disc)
    return trimesh.boolean.union([arch, *feet], engine="manifold")


def bush(radius: float, height: float, pot: trimesh.Trimesh) -> trimesh.Trimesh:
    """Return lumpy foliage of about `radius` around z = `height`, grown together with `pot`."""
    foliage = trimesh.creation.icosphere(subdivisions=4)
    x, y, z = foliage.vertices.T
    lumps = 1.0 + 0.10 * np.sin(5 * x + 1) * np.sin(5 * y + 2) * np.sin(4 * z) * 2.0
    foliage.vertices = foliage.vertices * (radius * lumps)[:, None] + [0.0, 0.0, height]
    return trimesh.boolean.union([pot, foliage], engine="manifold")
