from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa3d.base.printable import one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mug", "mug"),
        ("große Tasse 杯子 ☕", "große Tasse 杯子 ☕"),
        ("a\nb\tc", "a\nb\tc"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\rb"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u200bb", "a\\u200bb"),
        ("\ud800", "\\ud800"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_what_a_terminal_obeys_becomes_visible(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_all_text_can_be_printed(text: str) -> None:
    shown = printable(text)
    shown.encode("utf8")
    assert all(letter.isprintable() or letter in "\n\t" or letter.isspace() for letter in shown)
    assert printable(shown) == shown
    assert len(one_line(text).splitlines()) <= 1
