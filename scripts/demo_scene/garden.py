"""The unbounded scene: a painted table outdoors, with trees, hills and a sky far away."""

import numpy as np
import trimesh

from . import shapes
from . import textures as tx
from .still_life import FLOOR, StillLife, beside, on_table, place, solid
from .textures import Array
from .tracer import Body, Light

SKY_RADIUS = 90.0


def _ground_texture(p: Array) -> Array:
    """Return colors: paving around the table, grass beyond, coarser with the distance."""
    reach = np.linalg.norm(p[:, :2], axis=1)
    slab = ((p[:, 0] / 0.6 % 2.0 < 1.0) ^ (p[:, 1] / 0.6 % 2.0 < 1.0))[:, None]
    paving = np.where(slab, np.array([0.62, 0.58, 0.53]), np.array([0.50, 0.46, 0.43]))
    paving = paving * (0.85 + 0.3 * tx.fractal_noise(p / 0.4, seed=3)[:, None])
    near = tx.fractal_noise(p / 1.2, seed=5) - 0.5
    far = tx.fractal_noise(p / 12.0, seed=6) - 0.5
    fade = np.exp(-reach / 12.0)
    grass = tx.mix((0.30, 0.44, 0.18), (0.52, 0.58, 0.26), 0.5 + 1.8 * fade * near + 1.2 * far)
    return np.where((reach < 2.9)[:, None], paving, grass)


def _sky_texture(p: Array) -> Array:
    """Return colors: blue that pales towards the horizon, with broad clouds."""
    height = p[:, 2] / SKY_RADIUS
    blue = tx.mix((0.78, 0.85, 0.90), (0.36, 0.56, 0.82), 1.6 * height)
    cloud = 3.0 * (tx.fractal_noise(p / np.array([40.0, 40.0, 16.0]), seed=12) - 0.48)
    return tx.mix(blue, (0.94, 0.94, 0.93), cloud)


def _hills() -> trimesh.Trimesh:
    """Return a closed ring of hills 40 to 75 units away."""
    turn, out = np.meshgrid(np.linspace(0, 2 * np.pi, 181)[:-1], np.linspace(0, 1, 13))
    height = 5.0 + 3.0 * np.sin(3 * turn + 0.5) + 2.0 * np.sin(7 * turn) + np.sin(13 * turn)
    radius = 40.0 + 35.0 * out
    z = FLOOR - 0.3 + height * np.sin(np.pi * out)
    vertices = np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=-1).reshape(-1, 3)
    row, column = np.mgrid[:12, :180]
    a, b = row * 180 + column, row * 180 + (column + 1) % 180
    faces = np.concatenate([np.stack([a, a + 180, b], -1), np.stack([b, a + 180, b + 180], -1)])
    return trimesh.Trimesh(vertices, faces.reshape(-1, 3), process=False)


def _trees(random: np.random.Generator) -> list[Body]:
    """Return fourteen simple trees, 6 to 26 units away, round crowns and pointed ones."""
    bark = tx.wood((0.45, 0.33, 0.24), (0.32, 0.22, 0.16), 0.2, 0.4)
    bodies = []
    for k in range(14):
        size = random.uniform(1.6, 3.0)
        turn = 2.0 * np.pi * (k + random.uniform(-0.3, 0.3)) / 14
        reach = random.uniform(6.0, 26.0)
        at = (reach * np.cos(turn), reach * np.sin(turn), FLOOR)
        trunk = shapes.lathe([(0.0, 0.0), (0.10 * size, 0.0), (0.06 * size, size), (0.0, size)])
        if k % 3:
            crown = shapes.ellipsoid(0.55 * size, 0.55 * size, 0.6 * size)
        else:
            crown = shapes.lathe([(0.0, 0.0), (0.55 * size, 0.0), (0.0, 1.8 * size)])
        tones = (
            ((0.16, 0.32, 0.14), (0.34, 0.48, 0.18))
            if k % 3
            else ((0.10, 0.25, 0.17), (0.20, 0.38, 0.24))
        )
        bodies.append(place(f"trunk_{k}", trunk, bark, at))
        bodies.append(
            place(
                f"crown_{k}",
                crown,
                tx.mottled(*tones, 0.5 * size, seed=k),
                (at[0], at[1], FLOOR + 0.6 * size),
            )
        )
    return bodies


def garden() -> StillLife:
    """Return six objects on a round table outdoors, with trees, hills and a sky far away."""
    sky = trimesh.creation.icosphere(subdivisions=3, radius=SKY_RADIUS)
    ground = shapes.lathe(
        [(0.0, 0.0), (3.0, 0.0), (12.0, 0.0), (SKY_RADIUS, 0.0), (SKY_RADIUS, -0.1), (0.0, -0.1)],
        sections=48,
    )
    paint = tx.wood((0.66, 0.74, 0.78), (0.48, 0.58, 0.66), 0.10, 0.17, seed=4)
    top = shapes.lathe(
        [(0.0, 0.0), (0.82, 0.0), (0.84, 0.015), (0.84, 0.045), (0.82, 0.06), (0.0, 0.06)],
        sections=128,
    )
    foot = shapes.lathe(
        [(0.0, 0.0), (0.38, 0.0), (0.34, 0.05), (0.08, 0.10), (0.07, 0.69), (0.0, 0.69)]
    )
    bodies = [
        place("sky", sky, _sky_texture, glows=True),
        place("ground", ground, _ground_texture, (0, 0, FLOOR)),
        place("hills", _hills(), tx.mottled((0.36, 0.48, 0.32), (0.50, 0.57, 0.45), 14.0)),
        *_trees(np.random.default_rng(3)),
        place("table_top", top, paint, (0, 0, -0.06), casts_shadow=True),
        place("table_foot", foot, paint, (0, 0, FLOOR), casts_shadow=True),
    ]

    parcel = (0.36, 0.18, -20.0)
    jug_at = beside(*parcel, along=-0.02, away=-(0.14 + 0.135))
    kraft = tx.mottled((0.70, 0.52, 0.32), (0.60, 0.43, 0.25), 0.10, seed=2)

    def parcel_texture(p: Array) -> Array:
        ribbon = (np.abs(p[:, 0]) < 0.028) | (np.abs(p[:, 1]) < 0.028)
        return np.where(ribbon[:, None], np.array([0.74, 0.16, 0.22]), kraft(p))

    jug_wall = shapes.rounded([(0.085, 0.0), (0.135, 0.12), (0.085, 0.27), (0.10, 0.34)], 15)
    glaze = tx.mottled((0.16, 0.48, 0.50), (0.28, 0.62, 0.60), 0.10, seed=11)
    white = solid(0.88, 0.88, 0.84)
    pot = shapes.lathe(
        [(0.0, 0.0), (0.10, 0.0), (0.14, 0.18), (0.158, 0.18), (0.162, 0.24), (0.0, 0.24)]
    )
    rind = ((0.13, 0.30, 0.12), (0.56, 0.66, 0.30))

    def melon_texture(p: Array) -> Array:
        turn = np.arctan2(p[:, 2] - 0.14, p[:, 1]) / (2.0 * np.pi)
        wobble = 0.4 * tx.fractal_noise(p / 0.05, seed=8)
        return tx.mix(*rind, 0.5 + 1.6 * np.sin(2.0 * np.pi * (9.0 * turn + wobble)))

    bodies += [
        on_table(
            "plant",
            shapes.bush(0.165, 0.36, pot),
            tx.layers(
                [0.2405],
                [
                    tx.stripes(
                        tx.mottled((0.72, 0.40, 0.26), (0.62, 0.32, 0.20), 0.08),
                        solid(0.86, 0.70, 0.50),
                        2,
                        0.12,
                        0.25,
                    ),
                    tx.mottled((0.12, 0.30, 0.12), (0.42, 0.56, 0.20), 0.07, seed=9),
                ],
            ),
            -0.05,
            0.02,
        ),
        on_table("parcel", shapes.block(0.34, 0.28, 0.22), parcel_texture, *parcel),
        on_table(
            "jug",
            shapes.mug(jug_wall, 0.016, 0.085, 0.022, 0.18),
            tx.layers([0.10, 0.15], [glaze, white, glaze]),
            *jug_at,
            -80.0,
        ),
        on_table("melon", shapes.ellipsoid(0.20, 0.14, 0.14), melon_texture, -0.45, -0.28, 35.0),
        on_table(
            "hoop",
            shapes.hoop(0.20, 0.021, 0.06),
            lambda p: np.where(
                ((np.arctan2(p[:, 2], p[:, 0]) / np.pi * 9.0) % 2.0 < 1.0)[:, None],
                np.array([0.88, 0.42, 0.12]),
                np.array([0.35, 0.16, 0.42]),
            ),
            -0.40,
            0.38,
            25.0,
        ),
        on_table(
            "gnome",
            shapes.lathe(
                [
                    *shapes.rounded([(0.0, 0.0), (0.11, 0.02), (0.115, 0.13), (0.07, 0.21)], 16),
                    *shapes.rounded([(0.085, 0.25), (0.07, 0.30)], 5),
                    (0.10, 0.30),
                    (0.06, 0.42),
                    (0.0, 0.56),
                ]
            ),
            tx.layers(
                [0.05, 0.21, 0.30],
                [
                    solid(0.25, 0.20, 0.18),
                    tx.stripes(solid(0.18, 0.30, 0.62), solid(0.82, 0.70, 0.24), 2, 0.4, 0.06),
                    solid(0.85, 0.66, 0.54),
                    solid(0.74, 0.18, 0.20),
                ],
            ),
            0.02,
            -0.47,
        ),
    ]
    return StillLife(
        bodies,
        [Light((18.0, -12.0, 28.0), 0.8, (0.68, 0.63, 0.54))],
        0.46,
        {
            "plant": (0.25, 0.42, 0.16),
            "parcel": (0.70, 0.52, 0.32),
            "jug": (0.20, 0.55, 0.55),
            "melon": (0.30, 0.45, 0.20),
            "hoop": (0.88, 0.42, 0.12),
            "gnome": (0.74, 0.18, 0.20),
        },
    )
