"""The colors of objects, everywhere: pictures, reports, viewer."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from sa3d.base.errors import SA3DError

Color = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

COLORS: tuple[Color, ...] = (
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
    (136, 34, 85),
)
"""In the order of the objects; a ninth object takes the first one again.

Okabe and Ito's palette, which people with any common color blindness can tell apart ("Color
universal design", 2008), without its black, and with a wine red of Paul Tol's muted scheme.
"""


def object_color(number: int) -> Color:
    """The color of the object at this place (from 0) in the list of objects."""
    return COLORS[number % len(COLORS)]


def free_color(used: Collection[Color]) -> Color:
    """The first color that is not in use, for another object; of nine one is used twice."""
    free = (color for color in COLORS if color not in used)
    return next(free, object_color(len(used)))


def object_colors(given: Mapping[str, Color | None]) -> dict[str, Color]:
    """The colors of all objects by name: what they were given, or that of their place.

    Where that is given to another, the first one that is free.
    """
    colors = {name: color for name, color in given.items() if color is not None}
    places = {name: object_color(number) for number, name in enumerate(given)}
    taken = set(colors.values())
    colors |= {n: c for n, c in places.items() if n not in colors and c not in taken}
    for name in given:
        colors.setdefault(name, free_color(colors.values()))
    return {name: colors[name] for name in given}


def parse_color(text: str) -> Color:
    """A color as ``#rrggbb`` or ``r,g,b``.

    Raises:
        SA3DError: it is neither.
    """
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text[1:])
    elif re.fullmatch(r"\d+,\d+,\d+", text):
        red, green, blue = map(int, text.split(","))
    else:
        raise SA3DError(f"{text!r} is no color: write #d55e00 or 213,94,0")
    return checked_color((red, green, blue))


def checked_color(color: Color) -> Color:
    """The color, as whole numbers.

    Raises:
        SA3DError: they are not three from 0 to 255.
    """
    if len(color) != 3 or not all(0 <= value <= 255 and value == int(value) for value in color):
        raise SA3DError(f"a color is red, green and blue from 0 to 255, not {color}")
    red, green, blue = map(int, color)
    return red, green, blue


def hex_color(color: Color) -> str:
    """A color as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)
