"""Exceptions in words a user understands."""

from __future__ import annotations

from nerfstudio_plugin.viewer.state import Notice
from sa3d.base.errors import SA3DError


def problem(error: Exception) -> Notice:
    """What went wrong, and what to do."""
    if isinstance(error, SA3DError):
        said = str(error)
        if said.split()[0].isalpha():  # otherwise it begins with a file's name
            said = said[0].upper() + said[1:]
        return Notice("error", "That did not work", f"{said}.")
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return Notice(
            "error",
            "Memory is short",
            "Close other programs, or start again with fewer rays (--prepare.ray-side) "
            "or a smaller segmenter (--segmenter).",
        )
    if isinstance(error, OSError):
        return Notice("error", "A file could not be read or written", f"{error}")
    kind = type(error).__name__
    return Notice("error", "A bug in this program", f"{kind}: {error}. Please report it.")
