"""The bounded scene: a wooden table in a closed, papered room."""

import numpy as np
import trimesh

from . import shapes
from . import textures as tx
from .still_life import FLOOR, StillLife, beside, on_table, place, solid
from .textures import Array
from .tracer import Light

ROOM_HALF_WIDTH = 2.45
ROOM_CEILING = 2.35


def _wall_texture(p: Array) -> Array:
    """Return colors: panels, wallpaper stripes and a big painting on each wall; a tiled floor."""
    on_x = np.abs(p[:, 0]) > ROOM_HALF_WIDTH - 1e-6
    along = np.where(on_x, p[:, 1], p[:, 0])
    side = np.where(on_x, np.sign(p[:, 0]), 3.0 + np.sign(p[:, 1]))
    paper = tx.mix((0.62, 0.68, 0.62), (0.72, 0.74, 0.64), 1.0 * ((along / 0.7) % 1.0 < 0.5))
    panel = tx.wood((0.58, 0.42, 0.28), (0.40, 0.27, 0.18), 0.30, 0.45, seed=3)(
        np.stack([p[:, 2], along, side], axis=1)
    )
    blotch = tx.fractal_noise(np.stack([along, p[:, 2], 7.0 * side], axis=1) / 0.45, seed=9)
    hue = tx.fractal_noise(np.stack([along, p[:, 2], 7.0 * side + 40.0], axis=1) / 0.6, seed=4)
    painting = tx.mix(
        tx.mix((0.75, 0.45, 0.25), (0.20, 0.35, 0.55), 3 * blotch - 1.0),
        (0.85, 0.78, 0.55),
        3 * hue - 1.2,
    )
    color = np.where(p[:, 2:] < -0.05, panel, paper)
    distance = np.maximum(np.abs(along - 0.3 * side) - 0.75, np.abs(p[:, 2] - 0.75) - 0.45)
    color = np.where((distance < 0.08)[:, None], np.array([0.30, 0.20, 0.14]), color)
    color = np.where((distance < 0.0)[:, None], painting, color)
    tile = ((p[:, 0] / 0.7 % 2.0 < 1.0) ^ (p[:, 1] / 0.7 % 2.0 < 1.0))[:, None]
    floor = np.where(tile, np.array([0.60, 0.54, 0.47]), np.array([0.38, 0.34, 0.34]))
    floor = floor * (0.85 + 0.3 * tx.fractal_noise(p / 0.5, seed=8)[:, None])
    color = np.where(p[:, 2:] < FLOOR + 1e-6, floor, color)
    return np.where(p[:, 2:] > ROOM_CEILING - 1e-6, 0.8, color)


def room() -> StillLife:
    """Return seven objects on a wooden table in a closed, papered room."""
    shell = trimesh.creation.box(
        bounds=[[-ROOM_HALF_WIDTH] * 2 + [FLOOR], [ROOM_HALF_WIDTH] * 2 + [ROOM_CEILING]]
    )
    table_wood = tx.wood((0.84, 0.70, 0.52), (0.64, 0.48, 0.32), 0.09, 0.16, seed=1)
    dark_wood = tx.wood((0.45, 0.30, 0.20), (0.30, 0.19, 0.12), 0.10, 0.20, seed=2)
    bodies = [
        place("room", shell, _wall_texture),
        place(
            "table_top",
            shapes.block(1.60, 1.30, 0.06),
            table_wood,
            (0, 0, -0.06),
            casts_shadow=True,
        ),
    ]
    bodies += [
        place(
            f"table_leg_{k}",
            shapes.block(0.09, 0.09, -FLOOR - 0.06),
            dark_wood,
            (0.70 * sx, 0.55 * sy, FLOOR),
            casts_shadow=True,
        )
        for k, (sx, sy) in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1)))
    ]

    cream, navy = solid(0.90, 0.86, 0.76), solid(0.16, 0.28, 0.55)
    mug_wall = [(0.105, 0.0), (0.125, 0.012), (0.130, 0.03), (0.130, 0.16), (0.133, 0.29)]
    book = (0.44, 0.22, 28.0)
    bottle_at = beside(*book, along=-0.09, away=0.15 + 0.0798)
    cover = tx.mottled((0.12, 0.36, 0.22), (0.20, 0.48, 0.28), 0.06, seed=6)
    pages = tx.stripes(solid(0.88, 0.84, 0.72), solid(0.72, 0.67, 0.55), 2, 0.018)

    def book_texture(p: Array) -> Array:
        inside = (p[:, 0] > -0.185) & (np.abs(p[:, 2] - 0.065) < 0.045)
        edge = inside & ((np.abs(p[:, 1]) > 0.149) | (p[:, 0] > 0.209))
        title = (p[:, 2] > 0.129) & (np.abs(p[:, 0] - 0.02) < 0.11) & (np.abs(p[:, 1]) < 0.05)
        color = np.where(edge[:, None], pages(p), cover(p))
        return np.where(title[:, None], np.array([0.86, 0.70, 0.30]), color)

    bodies += [
        on_table(
            "vase",
            shapes.lathe(
                shapes.rounded(
                    [(0.0, 0.0), (0.085, 0.004), (0.150, 0.16), (0.062, 0.37), (0.085, 0.46)], 32
                )
                + shapes.rounded([(0.078, 0.463), (0.048, 0.38), (0.0, 0.36)], 9)
            ),
            tx.marble((0.80, 0.76, 0.82), (0.38, 0.18, 0.45), 0.16, seed=2),
            -0.02,
            0.10,
        ),
        on_table(
            "mug",
            shapes.mug(mug_wall, 0.016, 0.078, 0.022, 0.15),
            tx.layers(
                [0.05, 0.10, 0.13, 0.18, 0.21, 0.26], [navy, cream, navy, cream, navy, cream, navy]
            ),
            -0.44,
            -0.30,
            215.0,
        ),
        on_table(
            "ball",
            shapes.ellipsoid(0.15, 0.15, 0.15),
            lambda p: tx.sectors(
                [(0.80, 0.22, 0.18), (0.90, 0.84, 0.70), (0.85, 0.58, 0.16)], 0.78
            )(p - [0, 0, 0.15]),
            0.47,
            -0.33,
        ),
        on_table("book", shapes.block(0.42, 0.30, 0.13), book_texture, *book),
        on_table(
            "bottle",
            shapes.lathe(
                [
                    (0.0, 0.0),
                    (0.075, 0.0),
                    *shapes.rounded(
                        [
                            (0.080, 0.006),
                            (0.082, 0.15),
                            (0.082, 0.27),
                            (0.045, 0.37),
                            (0.030, 0.42),
                        ],
                        24,
                    ),
                    (0.030, 0.46),
                    (0.036, 0.462),
                    (0.036, 0.50),
                    (0.0, 0.50),
                ]
            ),
            tx.layers(
                [0.10, 0.225, 0.46],
                [
                    solid(0.10, 0.42, 0.45),
                    tx.stripes(solid(0.92, 0.88, 0.78), solid(0.75, 0.30, 0.20), 2, 0.05, 0.35),
                    solid(0.10, 0.42, 0.45),
                    solid(0.80, 0.72, 0.25),
                ],
            ),
            *bottle_at,
        ),
        on_table(
            "candlestick",
            shapes.lathe(
                [
                    (0.0, 0.0),
                    (0.10, 0.0),
                    (0.10, 0.015),
                    (0.03, 0.035),
                    (0.02, 0.05),
                    (0.02, 0.33),
                    (0.055, 0.345),
                    (0.055, 0.36),
                    (0.021, 0.362),
                    (0.021, 0.52),
                    (0.0, 0.535),
                ],
                sections=48,
            ),
            tx.layers([0.361], [solid(0.20, 0.20, 0.23), solid(0.85, 0.30, 0.42)]),
            -0.46,
            0.34,
        ),
        on_table(
            "doughnut",
            shapes.ring(0.105, 0.052),
            lambda p: np.where(
                (p[:, 2] + 0.03 * tx.fractal_noise(p / 0.06, seed=3) > 0.065)[:, None],
                np.where(
                    (tx.value_noise(p / 0.016, seed=7) > 0.80)[:, None],
                    np.array([0.95, 0.92, 0.80]),
                    np.array([0.82, 0.42, 0.55]),
                ),
                tx.mottled((0.72, 0.47, 0.24), (0.60, 0.36, 0.16), 0.05)(p),
            ),
            0.02,
            -0.36,
        ),
    ]
    return StillLife(
        bodies,
        [
            Light((1.6, -1.3, 4.0), 0.25, (0.62, 0.58, 0.51)),
            Light((-2.0, -0.6, 3.0), 0.25, (0.14, 0.16, 0.20)),
        ],
        0.42,
        {
            "vase": (0.38, 0.18, 0.45),
            "mug": (0.16, 0.28, 0.55),
            "ball": (0.80, 0.22, 0.18),
            "book": (0.16, 0.42, 0.25),
            "bottle": (0.10, 0.42, 0.45),
            "candlestick": (0.20, 0.20, 0.23),
            "doughnut": (0.82, 0.42, 0.55),
        },
    )
