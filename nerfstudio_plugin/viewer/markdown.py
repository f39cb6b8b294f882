"""Markdown for the panel. Viser evaluates it as MDX: braces and tags in it are programs."""

from __future__ import annotations

import re

from sa3d.base.printable import one_line, printable


def escape(text: str) -> str:
    """Return text that Markdown, HTML and MDX show as it is, on one line.

    Everything but letters, digits and spaces is written as a character reference, and so is the
    first character, since ``import`` and ``export`` at the start of a line are programs.

    Example:
        >>> escape("{1+1}")
        '&#123;1&#43;1&#125;'
    """
    line = one_line(text)
    return "".join(
        letter if position and (letter.isalnum() or letter == " ") else f"&#{ord(letter)};"
        for position, letter in enumerate(line)
    )


def code_block(text: str) -> str:
    """Return text as a block of code, whatever backticks are in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{printable(text)}\n{fence}"
