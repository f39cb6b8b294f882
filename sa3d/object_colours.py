"""The colours of objects, everywhere: pictures, reports, viewer."""

from __future__ import annotations

from collections.abc import Collection

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
