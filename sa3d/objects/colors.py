"""Colors of objects, in images, reports and the viewer."""

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
"""Colors in the order of the objects; the ninth object has the first color again.

Okabe and Ito's palette, which people with any common color blindness can tell apart ("Color
universal design", 2008), without its black, and with a wine red of Paul Tol's muted scheme.
"""


def object_color(number: int) -> Color:
    """Return the color of the object at a place (from 0) in the list of objects."""
    return COLORS[number % len(COLORS)]


def free_color(used: Collection[Color]) -> Color:
    """Return the first color that is not used; if all eight are in use, repeat one."""
    free = (color for color in COLORS if color not in used)
    return next(free, object_color(len(used)))


def object_colors(given: Mapping[str, Color | None]) -> dict[str, Color]:
    """Return the colors of all objects by name: the given color, else the color of their place.

    If another object was given the color of the place, the first free color is used.
    """
    colors = {name: color for name, color in given.items() if color is not None}
    places = {name: object_color(number) for number, name in enumerate(given)}
    taken = set(colors.values())
    colors |= {n: c for n, c in places.items() if n not in colors and c not in taken}
    for name in given:
        colors.setdefault(name, free_color(colors.values()))
    return {name: colors[name] for name in given}


def parse_color(text: str) -> Color:
    """Parse a color written as ``#rrggbb`` or ``r,g,b``.

    Raises:
        SA3DError: the text has neither form.
    """
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text[1:])
    elif re.fullmatch(r"\d+,\d+,\d+", text):
        red, green, blue = map(int, text.split(","))
    else:
        raise SA3DError(f"invalid color {text!r}: write #d55e00 or 213,94,0")
    return checked_color((red, green, blue))


def checked_color(color: Color) -> Color:
    """Return a color as integers.

    Raises:
        SA3DError: the color is not three whole numbers from 0 to 255.
    """
    if len(color) != 3 or not all(0 <= value <= 255 and value == int(value) for value in color):
        raise SA3DError(
            f"invalid color {color}: red, green and blue are whole numbers from 0 to 255"
        )
    red, green, blue = map(int, color)
    return red, green, blue


def hex_color(color: Color) -> str:
    """Format a color as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)
