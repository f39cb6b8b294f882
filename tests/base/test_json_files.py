from __future__ import annotations

from pathlib import Path

import pytest

from sa3d.base import json_files
from sa3d.base.errors import SA3DError
from sa3d.base.json_files import parse_json, read_json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "Expecting"),
        (b"\xff\xfe{}", "decode byte"),
        (b"[" * 100_000, "nested more than 64 levels"),
        (b"[" * 70 + b"]" * 70, "nested more than 64 levels"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested more than 64 levels"),
        (b"[1" + b"0" * 400 + b"]", "1000.* has more than 18 digits"),
        (b"1" + b"0" * 5000, "more than 18 digits"),
        (b"[1e999]", "1e999 is too large"),
        (b"[NaN]", "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (rb'["\ud800"]', "not valid Unicode"),
        (rb'{"\udfff": 1}', "not valid Unicode"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(SA3DError, match=message) as error:
        read_json(path, "prompts file", remedy="write it again")
    line = str(error.value)
    assert line.startswith(f"prompts file {str(path)!r} is not valid JSON: ")
    assert line.endswith(": write it again")
    assert "\n" not in line
    assert len(line) < len(str(path)) + 200
    with pytest.raises(ValueError, match=message):
        parse_json(content)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match=r"cannot read camera path .*a\.json': No such file"):
        read_json(tmp_path / "a.json", "camera path")
    with pytest.raises(SA3DError, match=r"cannot read .*: Is a directory"):
        read_json(tmp_path)
    with pytest.raises(SA3DError, match=r"cannot read .*null"):
        read_json(tmp_path / "a\0b")


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "_MAX_BYTES", 1 << 20)
    (tmp_path / "a.json").write_bytes(b" " * (1 << 20) + b"1")
    with pytest.raises(SA3DError, match="larger than 1 MiB"):
        read_json(tmp_path / "a.json")


def test_ordinary_files_are_read(tmp_path: Path) -> None:
    content = '{"views": [1, -2.5, 999999999999999999, "M\u00fchle", "\\ud83d\\ude00", null]}'
    (tmp_path / "a.json").write_text("\ufeff" + content, encoding="utf-8")
    views = [1, -2.5, 10**18 - 1, "Mühle", "\U0001f600", None]
    assert read_json(tmp_path / "a.json") == {"views": views}
