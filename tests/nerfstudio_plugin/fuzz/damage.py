"""Damage to files: random bytes, and hostile values in JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

HUGE = json.loads("1" + 400 * "0")
HOSTILE_NAMES = (
    "",
    " ",
    ".",
    "..",
    "../../../ESC",
    "/ESC",
    "a/../../ESC",
    "..\\ESC",
    "C:\\ESC",
    "a\0b",
    "{(globalThis.PWNED=1)}",
    "<script>globalThis.PWNED=1</script>",
    '<img src="x" onerror="globalThis.PWNED=1">',
    '"onmouseover="globalThis.PWNED=1',
    "[a](javascript:alert(1))",
    'import x from "y"',
    "[red]mug[/red]",
    "[/]",
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "a\nerror: b",
    "a\rb",
    "\u202egnp.exe",
    "\u2066a",
    "\x9b31m",
    "\ud800",
    "x" * 256,
    "\u00e9" * 120,
    "NUL",
    "mug.",
    "-rf",
    "--output",
    ".hidden",
    "segmentation.json",
    "%s%n",
    "$(touch ESC)",
    "; touch ESC",
    "a,b",
    "caf\u00e9",
    "cafe\u0301",
    "\u676f\u5b50",
)
"""Names and paths that programs took for commands, markup or other files."""

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 256, 65_536, 10**9, 2**63, HUGE, -HUGE),
    *(0.5, -0.5, 1e-300, 1e300, float("nan"), float("inf"), -float("inf")),
    *("", "0", "99", "x", "256", [], {}, [[]], [{}], {"a": 1}, [None], [0, 0], [True, True]),
    *HOSTILE_NAMES[:24],
)


def damaged_bytes(random: Random, content: bytes, other: bytes = b"") -> bytes:
    """Return a file's content with one kind of damage; ``other`` is another file's content."""
    data, size = bytearray(content), max(len(content), 1)
    start = random.randrange(size)
    stop = min(len(data), start + random.choice((1, 4, 64, 4096)))
    kind = random.randrange(9)
    if kind == 0 and data:
        data[start] ^= 1 << random.randrange(8)
    elif kind == 1:
        data[start:stop] = random.randbytes(stop - start)
    elif kind == 2:
        del data[start:]
    elif kind == 3:
        del data[start:stop]
    elif kind == 4:
        data[start:stop] = bytes(stop - start)
    elif kind == 5:
        data[start:start] = random.randbytes(random.choice((1, 16, 512)))
    elif kind == 6:
        data[start:start] = data[start:stop]
    elif kind == 7:
        data[:] = other
    elif kind == 8:
        data[:] = b"" if random.random() < 0.5 else random.randbytes(size)
    return bytes(data)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside a JSON value, and of the value itself."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for position in range(len(value)):
            yield from places(value[position], (*path, position))


def edited_json(random: Random, content: Any) -> Any:
    """Return JSON with one value replaced, removed, added or doubled."""
    content = copy.deepcopy(content)
    *path, last = random.choice(list(places(content))[1:] or [("",)])
    inside = content
    for step in path:
        inside = inside[step]
    kind = random.randrange(8)
    if kind == 0:
        del inside[last]
    elif kind == 1 and isinstance(inside, list):
        inside.insert(last, copy.deepcopy(inside[last]))
    elif kind == 1 and isinstance(inside, dict):
        inside["unknown"] = random.choice(_VALUES)
    elif kind == 2:
        inside[last] = nested(random.choice((50, 5000, 200_000)))
    elif kind == 3:
        inside[last] = random.choice((1, -1)) * random.random() * 10 ** random.randrange(-3, 12)
    else:
        inside[last] = random.choice(_VALUES)
    return content


class Nested(str):
    """JSON text that is too deep for Python's encoder; see ``json_text``."""

    __slots__ = ()


def nested(depth: int) -> Nested:
    """Return lists in lists, as text."""
    return Nested("[" * depth + "]" * depth)


def json_text(content: Any) -> str:
    """Return JSON with the texts of ``Nested`` values as they are."""
    texts: list[str] = []

    def mark(value: Any) -> Any:
        if isinstance(value, Nested):
            texts.append(str(value))
            return f"@nested{len(texts) - 1}@"
        if isinstance(value, dict):
            return {key: mark(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [mark(inner) for inner in value]
        return value

    text = json.dumps(mark(content))
    for number, inner in enumerate(texts):
        text = text.replace(f'"@nested{number}@"', inner)
    return text


Damage = Callable[[Random, Path], None]
"""Damages one file in its place."""


def spoil_bytes(random: Random, path: Path) -> None:
    """Damage a file's bytes, or put a folder in its place."""
    if random.random() < 0.03:
        path.unlink()
        path.mkdir()
        return
    others = sorted(one for one in path.parent.iterdir() if one.is_file() and one != path)
    other = random.choice(others).read_bytes() if others else b""
    path.write_bytes(damaged_bytes(random, path.read_bytes(), other))


def spoil_json(random: Random, path: Path) -> None:
    """Edit one value of a JSON file."""
    text = json_text(edited_json(random, json.loads(path.read_text("utf8"))))
    path.write_text(text, "utf8", errors="surrogatepass")
