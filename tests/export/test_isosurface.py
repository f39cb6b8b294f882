from __future__ import annotations

import numpy as np
import pytest
import trimesh

from sa3d.export.isosurface import isosurface

SHAPE = (25, 22, 30)


def ball(lattice: np.ndarray) -> np.ndarray:
    """Values that fall from 1 to 0 over four cells; 0.5 at a distance of 8 from the center."""
    distance = np.linalg.norm(lattice - [12, 11, 14], axis=-1)
    return (0.5 + (8 - distance) / 4).clip(0, 1).astype(np.float32)


def noise(lattice: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).random(SHAPE, np.float32)[tuple(np.moveaxis(lattice, -1, 0))]


def full(lattice: np.ndarray) -> np.ndarray:
    return np.ones(lattice.shape[:-1], np.float32)


def sampler(function, seen: list[int] | None = None):
    def sample(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        ranges = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
        values = function(np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1))
        if seen is not None:
            seen.append(values.size)
        return values

    return sample


@pytest.mark.parametrize("function", [ball, noise, full])
@pytest.mark.parametrize("block", [7, 16])
def test_blocks_give_what_one_block_gives(function, block: int) -> None:
    seen: list[int] = []
    vertices, faces = isosurface(sampler(function, seen), SHAPE, block)
    whole_vertices, whole_faces = isosurface(sampler(function), SHAPE, 64)
    assert max(seen) <= (block + 1) ** 3  # memory is limited
    assert vertices.shape == whole_vertices.shape
    assert faces.shape == whole_faces.shape
    np.testing.assert_allclose(vertices, whole_vertices, atol=1e-5)  # in order of lattice edge
    ours, theirs = ({tuple(sorted(f)) for f in mesh.tolist()} for mesh in (faces, whole_faces))
    assert ours == theirs
    assert trimesh.Trimesh(vertices, faces, process=False).is_watertight


def test_ball_has_its_size_and_faces_outward() -> None:
    vertices, faces = isosurface(sampler(ball), SHAPE, 10)
    solid = trimesh.Trimesh(vertices, faces, process=False)
    assert solid.volume == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.02)
    np.testing.assert_allclose(solid.center_mass, [12, 11, 14], atol=1e-3)
    assert solid.euler_number == 2


def test_nothing_inside_is_no_mesh() -> None:
    vertices, faces = isosurface(sampler(lambda x: 0 * full(x)), SHAPE)
    assert vertices.shape == (0, 3)
    assert faces.shape == (0, 3)


def test_values_on_the_level_make_no_degenerate_faces() -> None:
    def steps(lattice: np.ndarray) -> np.ndarray:
        return (lattice.sum(axis=-1) % 3 / 2).astype(np.float32)  # 0, 0.5 and 1

    vertices, faces = isosurface(sampler(steps), (9, 9, 9), 4)
    solid = trimesh.Trimesh(vertices, faces, process=False)
    assert solid.is_watertight
    assert solid.area_faces.min() > 0
