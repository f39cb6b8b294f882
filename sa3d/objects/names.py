"""Names of objects."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from sa3d.base.errors import SA3DError, shown

DEFAULT_OBJECT = "object"
"""The name of an object that the user did not name."""
_MAX_BYTES = 200
"""File systems allow 255 bytes; the rest is for the endings that exports add."""
_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, surrogates, and separators of lines."""
_TURNS_TEXT = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that show the text after them in another order."""


def check_object_name(name: object) -> None:
    """Check an object's name: files and folders are named by it.

    Raises:
        SA3DError: the name is empty, has a slash or a control character in it, begins with a dot,
            ends with one, begins or ends with a space, or is longer than 200 bytes.
    """
    problem = _problem(name)
    if problem:
        raise SA3DError(f"invalid object name {shown(name)}: {problem}")


def check_new_name(name: str, taken: Iterable[str]) -> None:
    """Check the name of a new object.

    Names that differ only in the case of letters, or in how an accent is written, name the same
    file on many disks; those that differ in a space and ``_``, in exports of OBJ.

    Raises:
        SA3DError: the name is invalid or taken.
    """
    check_object_name(name)
    for other in taken:
        if other == name:
            raise SA3DError(f"there is an object {name!r} already: give another name")
        if _file_key(other) == _file_key(name):
            raise SA3DError(
                f"the objects {other!r} and {name!r} would have files of the same names on some "
                "disks or in some exports: give another name"
            )


def check_names_apart(names: Iterable[str]) -> None:
    """Check names of objects that get files beside each other; see ``check_new_name``.

    Raises:
        SA3DError: a name is invalid, or two are the same or too similar.
    """
    before: list[str] = []
    for name in names:
        check_new_name(name, before)
        before.append(name)


def _problem(name: object) -> str | None:
    """Return the problem of an invalid name, in words."""
    if not isinstance(name, str) or not name.strip() or set(name) & set("/\\"):
        return "use non-empty text without slashes"
    if any(unicodedata.category(one) in _CONTROLS or one in _TURNS_TEXT for one in name):
        return "use text without line breaks and control characters"
    if name != name.strip() or name.startswith(".") or name.endswith("."):
        return "use text that begins and ends with neither a space nor a dot"
    if len(name.encode()) > _MAX_BYTES:
        return f"use at most {_MAX_BYTES} letters (bytes in UTF-8)"
    return None


def _file_key(name: str) -> str:
    written = "_".join(name.split())  # in OBJ, see ``mesh_files``
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", written).casefold())
