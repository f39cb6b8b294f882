from __future__ import annotations

import pytest

from sa3d.base.errors import SA3DError
from sa3d.objects.names import check_names_apart, check_new_name, check_object_name


@pytest.mark.parametrize(
    "name",
    [
        *("", "  ", ".", "..", "a/b", "a\\b", "../../ESC", "/etc", "C:\\x", 5, None, True, ["a"]),
        *("a\0b", "a\nb", "a\x1b[31m", "a\x7f", "a\x9b", "a\u2028b", "a\u202eb", "a\ud800b"),
        *(" a", "a ", "a\u3000", ".a", ".partial-a", "a.", "a" * 201, "ü" * 101),
    ],
)
def test_invalid_names(name: object) -> None:
    with pytest.raises(SA3DError, match="invalid object name") as error:
        check_object_name(name)
    str(error.value).encode()
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "name",
    ["mug", "red mug", "a.b", "a" * 200, "Mühle", "👩\u200d🚀", "{(x=1)}", "<b>", "-a"],
)
def test_valid_names(name: str) -> None:
    check_object_name(name)


@pytest.mark.parametrize("other", ["mug", "Mug", "MUG"])
def test_names_of_the_same_file_are_refused(other: str) -> None:
    with pytest.raises(SA3DError, match=r"already|files of the same names"):
        check_new_name(other, ["cup", "mug"])
    with pytest.raises(SA3DError, match=r"already|files of the same names"):
        check_names_apart(["cup", "mug", other])


def test_accents_written_in_two_ways_are_the_same_name() -> None:
    with pytest.raises(SA3DError, match="files of the same names"):
        check_new_name("Mu\u0308hle", ["m\u00fchle"])
    with pytest.raises(SA3DError, match="files of the same names"):
        check_new_name("STRASSE", ["straße"])
    with pytest.raises(SA3DError, match="files of the same names"):
        check_new_name("red  mug", ["red_mug"])
    check_names_apart(["Mühle", "Muhle", "mug"])
