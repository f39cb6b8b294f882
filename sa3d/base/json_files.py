"""Reads JSON files, which anybody may have written: with one clear error for all that is wrong.

Python's own reader takes more than JSON has (NaN, half of a surrogate pair, the last of two equal
keys), and fails with errors of its own on deep nesting and on long numbers.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from sa3d.base.errors import SA3DError

_MAX_BYTES = 64 << 20
_BLOCK = 1 << 16
_MAX_DEPTH = 64
_MAX_DIGITS = 18
"""Integers of so many digits fit into 64 bits."""


def read_json(path: Path, what: str = "", *, remedy: str = "") -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        what: the kind of file in words, for messages.
        remedy: added to messages.

    Returns:
        The content. Numbers are finite, integers have at most 18 digits, strings are valid Unicode.

    Raises:
        SA3DError: the file is missing, a folder, larger than 64 MiB, or not JSON.

    Example:
        >>> read_json(Path("prompts.json"), "prompts file")
        {'prompts': [...]}
    """
    name = f"{what} {str(path)!r}".lstrip()
    ending = f": {remedy}" if remedy else ""
    try:
        with path.open("rb") as file:
            content = file.read(_BLOCK)  # a larger block would be reserved whole
            while len(content) <= _MAX_BYTES and (more := file.read(len(content))):
                content += more
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SA3DError(f"cannot read {name}: {reason}{ending}") from error
    if len(content) > _MAX_BYTES:
        raise SA3DError(f"{name} is larger than {_MAX_BYTES >> 20} MiB{ending}")
    try:
        return parse_json(content)
    except ValueError as error:
        raise SA3DError(f"{name} is not valid JSON: {error}{ending}") from error


def parse_json(content: bytes | str) -> Any:
    """Parse JSON; see ``read_json``.

    Raises:
        ValueError: the content is not JSON.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        found = json.loads(
            text,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep") from None
    _check(found)
    return found


def _check(content: Any) -> None:
    """Check depth and strings.

    Raises:
        ValueError: nested too deeply, or a string with half of a surrogate pair.
    """
    level = [content]
    for _ in range(_MAX_DEPTH):
        for value in level:
            texts = value if isinstance(value, dict) else [value]
            for text in (text for text in texts if isinstance(text, str)):
                if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
                    raise ValueError(f"the text {text!r} is not valid Unicode")
        level = [
            inner
            for value in level
            if isinstance(value, list | dict)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {_short(text)} is too large")
    return value


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(f"the number {_short(text)} has more than {_MAX_DIGITS} digits")
    return int(text)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_DIGITS else f"{text[:_MAX_DIGITS]}..."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found
