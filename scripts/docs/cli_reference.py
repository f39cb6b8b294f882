"""Print the options of every ``sa3d`` command as JSON, read from the commands' own parsers.

    python scripts/docs/cli_reference.py

The output is a list with one entry per command and nested command:

    {"prog": "sa3d export mesh", "help": "...", "groups": [
        {"title": "options", "help": "", "options": [
            {"flags": ["--output"], "metavar": "PATH", "help": "...", "required": true}]}]}

A command that only lists further commands (``sa3d export``) has no groups. Further commands are
found in such a list, so a new command appears here without a change of this script.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

_SECTION = re.compile(r"^(commands|kinds|actions):\n((?:  .*\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^  ([a-z][a-z0-9-]*) ", re.MULTILINE)


class _Parsed(Exception):
    """Raised in place of parsing: carries the parser of a command and its description."""

    def __init__(self, parser: Any, description: str) -> None:
        self.parser = parser
        self.description = description


def cli_reference() -> list[dict[str, Any]]:
    """Return the entries of all commands, a parent before its nested commands."""
    os.environ["COLUMNS"], os.environ["NO_COLOR"], os.environ["TERM"] = "100", "1", "dumb"
    import tyro

    from nerfstudio_plugin.cli import main

    def stop_at_parsing(command: Callable[..., Any], **options: Any) -> NoReturn:
        known = ("prog", "description", "default", "config")
        arguments = {name: options[name] for name in known if name in options}
        with warnings.catch_warnings():
            # Deprecated without a successor; tyro's version is pinned in pyproject.toml.
            warnings.simplefilter("ignore", DeprecationWarning)
            parser = tyro.extras.get_parser(command, **arguments)
        raise _Parsed(parser, options.get("description", ""))

    tyro.cli = stop_at_parsing
    entries = []
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        words = waiting.pop(0)
        entry, nested = _entry(main, words)
        entries.append(entry)
        waiting[:0] = [(*words, name) for name in nested]
    return entries


def _entry(
    main: Callable[[list[str]], int], words: tuple[str, ...]
) -> tuple[dict[str, Any], list[str]]:
    """Return a command's entry and the names of its nested commands."""
    prog = " ".join(("sa3d", *words))
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            main([*words, "--help"])
    except _Parsed as parsed:
        groups = [_group(group) for group in parsed.parser._action_groups]
        entry = {"prog": prog, "help": parsed.description, "groups": groups}
        return {**entry, "groups": [group for group in groups if group["options"]]}, []
    text = printed.getvalue()
    section = _SECTION.search(text)
    if section is None:
        raise SystemExit(f"`{prog} --help` shows neither options nor a list of commands:\n{text}")
    return {"prog": prog, "help": text, "groups": []}, _ENTRY.findall(section[2])


def _group(group: Any) -> dict[str, Any]:
    options = [
        {
            "flags": list(action.option_strings),
            "metavar": str(action.metavar or ""),
            "help": action.help or "",
            "required": bool(action.required),
        }
        for action in group._group_actions
        if "--help" not in action.option_strings
    ]
    return {"title": group.title or "", "help": group.description or "", "options": options}


if __name__ == "__main__":
    json.dump(cli_reference(), sys.stdout, indent=1)
