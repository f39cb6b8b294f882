"""Solid (3D) procedural textures.

A texture maps object-local points `[N, 3]` (scene units) to sRGB colors `[N, 3]` in [0, 1].
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Texture = Callable[[Array], Array]
Color = tuple[float, float, float]


def _lattice_hash(cells: NDArray[np.int64], seed: int) -> Array:
    """Return uniform pseudo-random values in [0, 1) `[N]` for integer lattice cells `[N, 3]`."""
    c = cells.astype(np.uint32)
    h = c[:, 0] * np.uint32(73856093) ^ c[:, 1] * np.uint32(19349663)
    h ^= c[:, 2] * np.uint32(83492791) ^ np.uint32(seed * 2654435761 % 2**32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    return (h ^ (h >> np.uint32(16))) / 2.0**32


def value_noise(points: Array, seed: int = 0) -> Array:
    """Return smooth noise in [0, 1] `[N]` with one random value per unit cell."""
    base = np.floor(points)
    fraction = points - base
    weight = fraction * fraction * (3.0 - 2.0 * fraction)
    cells = base.astype(np.int64)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(corner, weight, 1.0 - weight), axis=1)
        total += share * _lattice_hash(cells + np.array(corner), seed)
    return total


def fractal_noise(points: Array, octaves: int = 3, seed: int = 0) -> Array:
    """Return the sum of `octaves` noises of halving size and weight, in [0, 1] `[N]`."""
    weights = 0.5 ** np.arange(octaves)
    layers = [value_noise(points * 2.0**k, seed + k) for k in range(octaves)]
    return np.tensordot(weights, np.stack(layers), axes=1) / weights.sum()


def mix(a: Color | Array, b: Color | Array, share: Array) -> Array:
    """Blend from `a` to `b` by `share` `[N]`, clipped to [0, 1]."""
    t = np.clip(share, 0.0, 1.0)[:, None]
    return np.asarray(a) * (1.0 - t) + np.asarray(b) * t


def mottled(a: Color, b: Color, size: float, seed: int = 0, contrast: float = 2.0) -> Texture:
    """Return a cloudy blend of two colors with blotches of about `size`."""
    return lambda p: mix(a, b, 0.5 + contrast * (fractal_noise(p / size, seed=seed) - 0.5))


def stripes(a: Texture, b: Texture, axis: int, period: float, share: float = 0.5) -> Texture:
    """Alternate two textures along an axis; `b` takes `share` of each period."""
    return lambda p: np.where(((p[:, axis] / period) % 1.0 < share)[:, None], b(p), a(p))


def sectors(colors: Sequence[Color], latitude_cut: float) -> Texture:
    """Return a beach ball: sectors around z, shifted where |z| / r exceeds `latitude_cut`."""
    palette = np.array(colors)

    def texture(p: Array) -> Array:
        turn = np.arctan2(p[:, 1], p[:, 0]) / (2.0 * np.pi) % 1.0
        polar = np.abs(p[:, 2]) > latitude_cut * np.linalg.norm(p, axis=1)
        return palette[((turn * 2 * len(palette)).astype(int) + polar) % len(palette)]

    return texture


def marble(a: Color, b: Color, size: float, seed: int = 0) -> Texture:
    """Return veins of `b` through `a`: a sine of a noise-warped coordinate."""

    def texture(p: Array) -> Array:
        warp = 5.0 * fractal_noise(p / size, octaves=4, seed=seed)
        wave = np.sin(2.0 * np.pi * (p @ np.array([0.6, 0.35, 0.7]) / size + warp))
        return mix(a, b, (0.5 + 0.5 * wave) ** 3)

    return texture


def wood(light: Color, dark: Color, ring: float, plank: float, seed: int = 0) -> Texture:
    """Return planks along x, each `plank` wide with its own tone, and grain of pitch `ring`."""

    def texture(p: Array) -> Array:
        board = np.floor(p[:, 1] / plank)
        board_id = np.stack([board, np.full_like(board, seed), np.zeros_like(board)], axis=1)
        tone = _lattice_hash(board_id.astype(np.int64), seed)
        stretched = p * np.array([0.12, 1.0, 1.0]) + tone[:, None]
        grain = fractal_noise(stretched / ring, octaves=2, seed=seed)
        seam = np.abs(p[:, 1] / plank - board - 0.5) > 0.5 - 0.006 / plank
        return mix(light, dark, 0.75 * (grain - 0.2) + 0.3 * tone + 0.6 * seam)

    return texture


def layers(bounds: Sequence[float], textures: Sequence[Texture]) -> Texture:
    """Stack textures along z: `textures[k]` lies below `bounds[k]`, the last one on top."""

    def texture(p: Array) -> Array:
        index = np.searchsorted(np.array(bounds), p[:, 2])
        return np.choose(index[:, None], [t(p) for t in textures])

    return texture
