"""Text from files and users, made safe to print."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    r"""Return text with everything that a terminal would obey written as an escape.

    Line breaks and tabs stay. Escape sequences, marks that turn the direction of writing, and what
    UTF-8 cannot encode become visible, so that the text is what it looks like.

    Example:
        >>> printable("mug\x1b[2J")
        'mug\\x1b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(letter) for letter in text)


def one_line(text: str) -> str:
    """Return text as one printable line: runs of white space become a space."""
    return printable(" ".join(text.split()))


def _visible(letter: str) -> str:
    if letter in "\n\t" or letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    return letter.encode("unicode_escape", "backslashreplace").decode("ascii")
