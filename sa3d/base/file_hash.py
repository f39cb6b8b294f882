"""Hashes of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

_HASHED_AT_ONCE = 1 << 22


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASHED_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()
