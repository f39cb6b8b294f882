"""Marching cubes over a lattice that is too large for memory: block by block, without seams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

LEVEL = 0.5
"""Value on the surface; values above are inside."""
BLOCK = 64
"""Cells along each side of a block; limits memory, does not change the result."""

_CLEARANCE = 1e-3
"""Least distance of samples from the level, so that each vertex is between two samples."""
_ON_LATTICE = 1e-4


def isosurface(
    sample: Callable[[np.ndarray, np.ndarray], np.ndarray],
    shape: Sequence[int],
    block: int = BLOCK,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the surface where a function on a lattice crosses ``LEVEL``, closed at the border.

    Neighbouring blocks share their border samples. A vertex is identified by the lattice edge it is
    on, so a vertex found in two blocks is one vertex in the result.

    Args:
        sample: returns the values [X, Y, Z] at lattice points ``low`` to ``high`` (exclusive), both
            int64 [3] inside the lattice.
        shape: of the lattice, (X, Y, Z).
        block: cells along each side of a block.

    Returns:
        vertices: float64 [V, 3], in lattice units; the first sample is at 0.
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
    """Yield the first lattice point and the values of every block, with a layer of 0 around all."""
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
    """Return vertices [V, 3], in cells from the block's corner, and outward faces [F, 3]."""
    from skimage.measure import marching_cubes

    near = np.abs(values - LEVEL) < _CLEARANCE
    off = np.where(values > LEVEL, LEVEL + _CLEARANCE, LEVEL - _CLEARANCE).astype(np.float32)
    vertices, faces, _, _ = marching_cubes(np.where(near, off, values), LEVEL)
    return vertices.astype(np.float64), faces[:, ::-1].astype(np.int64)


def _edge_keys(local: np.ndarray, start: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return a number [V] for the lattice edge, or the cell, that each vertex [V, 3] is on."""
    between = np.abs(local - np.rint(local)) > _ON_LATTICE
    lower = np.where(between, np.floor(local), np.rint(local)).astype(np.int64) + start
    kind = np.where(between.sum(axis=1) == 1, between.argmax(axis=1), 3)
    return np.ravel_multi_index(tuple(lower.T), tuple(shape)) * 4 + kind
