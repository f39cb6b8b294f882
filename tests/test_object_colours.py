"""Colours of objects: given, by place, in words."""

import pytest

from sa3d.errors import SA3DError
from sa3d.object_colours import (
    COLOURS,
    checked_colour,
    hex_colour,
    object_colour,
    object_colours,
    parse_colour,
)


def test_without_any_given_they_are_those_of_the_places():
    names = [f"object_{number}" for number in range(10)]
    colours = object_colours(dict.fromkeys(names))
    assert list(colours) == names
    assert list(colours.values()) == [*COLOURS, COLOURS[0], COLOURS[1]]


def test_a_place_gives_way_to_what_was_given():
    colours = object_colours({"a": None, "b": COLOURS[0], "c": None, "d": (1, 2, 3)})
    assert colours == {"a": COLOURS[1], "b": COLOURS[0], "c": COLOURS[2], "d": (1, 2, 3)}


def test_written_and_read():
    for number in range(len(COLOURS)):
        assert parse_colour(hex_colour(object_colour(number))) == object_colour(number)
    assert parse_colour("213,94,0") == (213, 94, 0)
    assert hex_colour((213, 94, 0)) == "#d55e00"


@pytest.mark.parametrize("text", ["", "red", "#12345", "#12345g", "1,2", "1,2,3,4", "1, 2, 3"])
def test_what_is_no_colour(text):
    with pytest.raises(SA3DError, match="is no colour: write #d55e00 or 213,94,0"):
        parse_colour(text)


def test_numbers_out_of_range():
    for colour in ((0, 0, 256), (-1, 0, 0), (0.5, 0, 0), (1, 2)):
        with pytest.raises(SA3DError, match="from 0 to 255"):
            checked_colour(colour)  # type: ignore[arg-type]
