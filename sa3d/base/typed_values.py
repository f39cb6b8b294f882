"""Checks values that were read from a file against types: those of a TypedDict or a dataclass.

A library for schemas (``cattrs``, ``pydantic``) is not used, since the core depends on torch, NumPy
and SciPy only, and since errors must name the key in the file and its possible values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from sa3d.base.errors import shown
from sa3d.base.ranges import Within


def check_value(value: Any, hint: Any, place: str = "") -> None:
    """Check a value, and all values in it.

    Numbers are finite, and a bool is no number. A whole number is a valid float. Keys of a mapping
    that its type does not have are allowed.

    Args:
        value: as JSON or TOML gives it.
        hint: a TypedDict or a dataclass; or None, bool, int, float, str, list, dict, a Literal, a
            union of types, a tuple, or any of them ``Annotated`` with ``Within``.
        place: of the value in its file, for messages.

    Raises:
        ValueError: the value, or one in it, is not of its type; the message names the place.

    Example:
        >>> check_value([1, "x"], list[int], "labels")
        Traceback (most recent call last):
        ValueError: labels[1] must be a whole number, is 'x'
    """
    if get_origin(hint) is Annotated:
        inner, *ranges = get_args(hint)
        check_value(value, inner, place)
        for one in ranges:
            number = len(value) if isinstance(value, list) else value
            if isinstance(one, Within) and number not in one:
                kind = "have a length of" if isinstance(value, list) else "be"
                raise ValueError(f"{place} must {kind} {one}, is {shown(number)}")
        return
    if not fits(value, hint):
        raise ValueError(f"{place} must be {type_in_words(hint)}, is {shown(value)}")
    types = get_args(hint)
    if is_typeddict(hint) or is_dataclass(hint):
        hints, needed = _members(hint)
        if missing := sorted(needed - value.keys()):
            raise ValueError(f"{place + '.' if place else ''}{missing[0]} is missing")
        for key in hints.keys() & value.keys():
            check_value(value[key], hints[key], f"{place}.{key}" if place else key)
    elif get_origin(hint) is list:
        for i, one in enumerate(value):
            check_value(one, types[0], f"{place}[{i}]")
    elif get_origin(hint) is dict:
        for key, one in value.items():
            check_value(one, types[1], f"{place}.{key}")
    elif get_origin(hint) is tuple and Ellipsis in types:
        check_value(list(value), list[types[0]], place)
    elif get_origin(hint) is tuple:
        for i, (one, kind) in enumerate(zip(value, types, strict=True)):
            check_value(one, kind, f"{place}[{i}]")
    elif get_origin(hint) in (Union, UnionType):
        (kind,) = [kind for kind in types if fits(value, kind)][:1]
        check_value(value, kind, place)


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of a type; values inside it are not checked."""
    kind = get_origin(hint) or hint
    if kind is Annotated:
        return fits(value, get_args(hint)[0])
    if kind in (Union, UnionType):
        return any(fits(value, choice) for choice in get_args(hint))
    if kind is Literal:
        return any(type(value) is type(one) and value == one for one in get_args(hint))
    if kind is Any:
        return True
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if kind is tuple:
        inner = get_args(hint)
        return isinstance(value, list | tuple) and (Ellipsis in inner or len(value) == len(inner))
    if kind is dict or is_typeddict(kind) or is_dataclass(kind):
        return isinstance(value, Mapping)
    return isinstance(value, NoneType if kind is None else kind)


def type_in_words(hint: Any) -> str:
    """Return a type in words, for messages."""
    kind = get_origin(hint) or hint
    if kind is Annotated:
        return type_in_words(get_args(hint)[0])
    if kind is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_in_words(one) for one in get_args(hint)))
    if kind is tuple and Ellipsis in get_args(hint):
        return "a list"
    if kind is tuple:
        return f"a list of {len(get_args(hint))}"
    if kind is dict or is_typeddict(kind) or is_dataclass(kind):
        return "an object {...}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    words |= {list: "a list", NoneType: "null", None: "null"}
    return words.get(kind, getattr(kind, "__name__", str(kind)))


@cache
def _members(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of a TypedDict's or dataclass's members by name, and those needed."""
    hints = get_type_hints(kind, include_extras=True)
    if is_typeddict(kind):
        return hints, kind.__required_keys__
    needed = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]
    return hints, frozenset(needed)
