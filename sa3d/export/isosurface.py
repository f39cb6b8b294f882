"""Marching cubes over a lattice too large to hold: block by block, welded without a seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

LEVEL = 0.5
"""Value on the surface; larger values are inside."""
BLOCK = 64
"""Lattice cells along each side of a block; bounds memory, does not change the result."""

_CLEARANCE = 1e-3
"""Samples keep this far from the level, so that every vertex lies strictly between two samples."""
_ON_LATTICE = 1e-4


def isosurface(
    sample: Callable[[np.ndarray, np.ndarray], np.ndarray],
    shape: Sequence[int],
    block: int = BLOCK,
) -> tuple[np.ndarray, np.ndarray]:
    """The surface where a function on a lattice crosses ``LEVEL``, closed at the lattice's border.

    Blocks share their border samples. A vertex is known by the lattice edge it lies on, so those
    that two blocks found are one.

    Args:
        sample: the values [X, Y, Z] at lattice points ``low`` to ``high`` (exclusive), both
            int64 [3] inside the lattice.
        shape: of the lattice, (X, Y, Z).
        block: cells along each side of a block.

    Returns:
        vertices: float64 [V, 3], in lattice units: the first sample is at 0.
        faces: int64 [F, 3], facing outward.
    """
    keys, vertices, faces = [np.empty(0, np.int64)], [np.empty((0, 3))], [np.empty((0, 3), int)]
    found = 0
    for start, values in _blocks(sample, np.asarray(shape), block):
        if not (values > LEVEL).any() or (values > LEVEL).all():
            continue
        local, triangles = _marching_cubes(values)
        keys.append(_edge_keys(local, start + 1, np.asarray(shape) + 2))
        vertices.append(local + start)
        faces.append(triangles + found)
        found += len(local)
    _, first, merged = np.unique(np.concatenate(keys), return_index=True, return_inverse=True)
    return np.concatenate(vertices)[first], merged[np.concatenate(faces)]


def _blocks(
    sample: Callable[[np.ndarray, np.ndarray], np.ndarray], shape: np.ndarray, block: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """First lattice point and values of every block; the lattice is wrapped in one layer of 0."""
    counts = -(-(shape + 1) // block)
    for position in np.ndindex(*counts):
        start = np.array(position) * block - 1
        stop = np.minimum(start + block + 1, shape + 1)
        low, high = start.clip(0), np.minimum(stop, shape)
        values = np.zeros(stop - start, dtype=np.float32)
        inside = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        values[inside] = sample(low, high)
        yield start, values


def _marching_cubes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] in cells from the block's corner, and faces [F, 3] facing outward."""
    from skimage.measure import marching_cubes

    near = np.abs(values - LEVEL) < _CLEARANCE
    off = np.where(values > LEVEL, LEVEL + _CLEARANCE, LEVEL - _CLEARANCE).astype(np.float32)
    vertices, faces, _, _ = marching_cubes(np.where(near, off, values), LEVEL)
    return vertices.astype(np.float64), faces[:, ::-1].astype(np.int64)


def _edge_keys(local: np.ndarray, start: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """A number [V] for the lattice edge, or the inside of the cell, each vertex [V, 3] lies on."""
    between = np.abs(local - np.rint(local)) > _ON_LATTICE
    lower = np.where(between, np.floor(local), np.rint(local)).astype(np.int64) + start
    kind = np.where(between.sum(axis=1) == 1, between.argmax(axis=1), 3)
    return np.ravel_multi_index(tuple(lower.T), tuple(shape)) * 4 + kind
