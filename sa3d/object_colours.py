"""The colours of objects, everywhere: pictures, reports, viewer."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from sa3d.errors import SA3DError

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

COLOURS: tuple[Colour, ...] = (
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

Okabe and Ito's palette, which people with any common colour blindness can tell apart ("Color
universal design", 2008), without its black, and with a wine red of Paul Tol's muted scheme.
"""


def object_colour(number: int) -> Colour:
    """The colour of the object at this place (from 0) in the list of objects."""
    return COLOURS[number % len(COLOURS)]


def free_colour(used: Collection[Colour]) -> Colour:
    """The first colour that is not in use, for another object; of nine one is used twice."""
    free = (colour for colour in COLOURS if colour not in used)
    return next(free, object_colour(len(used)))


def object_colours(given: Mapping[str, Colour | None]) -> dict[str, Colour]:
    """The colours of all objects by name: what they were given, or that of their place.

    Where that is given to another, the first one that is free.
    """
    colours = {name: colour for name, colour in given.items() if colour is not None}
    places = {name: object_colour(number) for number, name in enumerate(given)}
    taken = set(colours.values())
    colours |= {n: c for n, c in places.items() if n not in colours and c not in taken}
    for name in given:
        colours.setdefault(name, free_colour(colours.values()))
    return {name: colours[name] for name in given}


def parse_colour(text: str) -> Colour:
    """A colour as ``#rrggbb`` or ``r,g,b``.

    Raises:
        SA3DError: it is neither.
    """
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text[1:])
    elif re.fullmatch(r"\d+,\d+,\d+", text):
        red, green, blue = map(int, text.split(","))
    else:
        raise SA3DError(f"{text!r} is no colour: write #d55e00 or 213,94,0")
    return checked_colour((red, green, blue))


def checked_colour(colour: Colour) -> Colour:
    """The colour, as whole numbers.

    Raises:
        SA3DError: they are not three from 0 to 255.
    """
    if len(colour) != 3 or not all(0 <= value <= 255 and value == int(value) for value in colour):
        raise SA3DError(f"a colour is red, green and blue from 0 to 255, not {colour}")
    red, green, blue = map(int, colour)
    return red, green, blue


def hex_colour(colour: Colour) -> str:
    """A colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
