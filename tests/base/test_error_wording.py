"""Errors of the core name fields and keywords, never options of a command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import sa3d

CORE = Path(next(iter(sa3d.__path__)))
FLAG = re.compile(r"(?<![\w-])--[a-z]")
OTHER_PROGRAMS = ("hf download",)


def texts(statement: ast.Raise) -> str:
    parts = (node.value for node in ast.walk(statement) if isinstance(node, ast.Constant))
    return "".join(part for part in parts if isinstance(part, str))


def errors_with_flags(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise):
            text = texts(node)
            if FLAG.search(text) and not any(program in text for program in OTHER_PROGRAMS):
                yield text


def test_no_error_of_the_core_names_a_flag() -> None:
    modules = sorted(CORE.rglob("*.py"))
    assert len(modules) > 50
    found = [text for path in modules for text in errors_with_flags(path.read_text("utf-8"))]
    assert found == []


def test_the_check_can_fail() -> None:
    flagged = 'raise SA3DError(f"{name} is small: prepare with a larger --prepare.ray-side")'
    assert list(errors_with_flags(flagged))
    assert not list(errors_with_flags('raise SA3DError("hf download X --local-dir Y")'))
    assert not list(errors_with_flags("raise SA3DError(\"use a larger 'prepare.ray_side'\")"))
