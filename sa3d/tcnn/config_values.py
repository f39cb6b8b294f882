"""Reads the dictionaries that configure tiny-cuda-nn, and refuses what is not supported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sa3d.base.errors import SA3DError, shown


def check_keys(config: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    """Check that a configuration has no other keys: each could change what is computed.

    Raises:
        SA3DError: there is another key.
    """
    if unknown := sorted(set(config) - set(known)):
        raise SA3DError(
            f"{what} of tiny-cuda-nn: unknown key {unknown[0]!r}; known: {', '.join(known)}"
        )


def whole_number(config: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
    """Return a whole number of a configuration.

    Raises:
        SA3DError: the value is not a whole number, or out of range.
    """
    value = config.get(key, default)
    if type(value) is not int or not least <= value <= most:
        raise SA3DError(
            f"{key!r} of tiny-cuda-nn must be a whole number from {least} to {most}, "
            f"is {shown(value)}"
        )
    return value


def one_of(config: Mapping[str, Any], key: str, default: str, known: tuple[str, ...]) -> str:
    """Return a name of a configuration.

    Raises:
        SA3DError: the name is not a known one.
    """
    value = config.get(key, default)
    if value not in known:
        raise SA3DError(
            f"{key!r} of tiny-cuda-nn is {shown(value)}, which is not supported; supported: "
            f"{', '.join(known)}"
        )
    return value
