"""Names of objects."""

from __future__ import annotations

from collections.abc import Container

from sa3d.base.errors import SA3DError

DEFAULT_OBJECT = "object"
"""The name of an object that the user did not name."""


def check_object_name(name: str) -> None:
    """Check an object's name: exports make a folder of it.

    Raises:
        SA3DError: the name is empty, has a slash in it, or is ``.`` or ``..``.
    """
    named = isinstance(name, str) and name.strip() and name not in (".", "..")
    if not named or set(name) & set("/\\\0"):
        raise SA3DError(f"invalid object name {name!r}: use non-empty text without slashes")


def check_new_name(name: str, taken: Container[str]) -> None:
    """Check the name of a new object.

    Raises:
        SA3DError: the name is invalid or taken.
    """
    check_object_name(name)
    if name in taken:
        raise SA3DError(f"there is an object {name!r} already: give another name")
