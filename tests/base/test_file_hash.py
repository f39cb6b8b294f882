from __future__ import annotations

import hashlib
from pathlib import Path

from sa3d.base.file_hash import file_sha256


def test_hash_of_a_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000  # more than is read at once
    (tmp_path / "weights").write_bytes(content)
    assert file_sha256(tmp_path / "weights") == hashlib.sha256(content).hexdigest()
