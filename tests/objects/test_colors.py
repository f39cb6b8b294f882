"""Tests of the colors of objects: given, by place, and parsed."""

import pytest

from sa3d.base.errors import SA3DError
from sa3d.objects.colors import (
    COLORS,
    checked_color,
    hex_color,
    object_color,
    object_colors,
    parse_color,
)


def test_without_any_given_they_are_those_of_the_places():
    names = [f"object_{number}" for number in range(10)]
    colors = object_colors(dict.fromkeys(names))
    assert list(colors) == names
    assert list(colors.values()) == [*COLORS, COLORS[0], COLORS[1]]


def test_a_place_gives_way_to_what_was_given():
    colors = object_colors({"a": None, "b": COLORS[0], "c": None, "d": (1, 2, 3)})
    assert colors == {"a": COLORS[1], "b": COLORS[0], "c": COLORS[2], "d": (1, 2, 3)}


def test_written_and_read():
    for number in range(len(COLORS)):
        assert parse_color(hex_color(object_color(number))) == object_color(number)
    assert parse_color("213,94,0") == (213, 94, 0)
    assert hex_color((213, 94, 0)) == "#d55e00"


@pytest.mark.parametrize("text", ["", "red", "#12345", "#12345g", "1,2", "1,2,3,4", "1, 2, 3"])
def test_what_is_no_color(text):
    with pytest.raises(SA3DError, match="write #d55e00 or 213,94,0"):
        parse_color(text)


def test_numbers_out_of_range():
    for color in ((0, 0, 256), (-1, 0, 0), (0.5, 0, 0), (1, 2)):
        with pytest.raises(SA3DError, match="from 0 to 255"):
            checked_color(color)  # type: ignore[arg-type]
