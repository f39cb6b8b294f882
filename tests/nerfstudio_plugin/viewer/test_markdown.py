"""Names by users and files are no programs to viser's Markdown."""

import re

import pytest

from nerfstudio_plugin.viewer.markdown import code_block, escape

PROGRAMS = [
    "{(globalThis.PWNED=1)}",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    'import x from "y"',
    "export const a = 1",
    "[a](javascript:alert(1))",
    "![a](http://x/y)",
    "# a\n\nimport y",
    "`${1}`",
    "&lt;b&gt;",
    "\\{1}",
]


@pytest.mark.parametrize("text", PROGRAMS)
def test_only_references_letters_and_digits_are_left(text):
    shown = escape(text)
    assert re.fullmatch(r"(&#\d+;)((&#\d+;)|[^\W_]| )*", shown)
    back = re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), shown)
    assert back == " ".join(text.split())


def test_escape_sequences_become_visible():
    assert "\x1b" not in escape("\x1b[2J")
    assert escape("") == ""
    assert escape("Tasse 3")[5:] == "asse 3"


@pytest.mark.parametrize("text", ["sa3d export", "a```b", "`````", "{1}\n````\n{2}"])
def test_a_code_block_ends_where_it_ends(text):
    fence, *lines, end = code_block(text).splitlines()
    assert fence == end
    assert set(fence) == {"`"}
    assert "\n".join(lines) == text
    assert fence not in text
