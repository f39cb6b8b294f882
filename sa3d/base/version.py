"""The version of the installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Return the version of the installed package, or "not installed"."""
    try:
        return version("sa3d-nerfstudio")
    except PackageNotFoundError:
        return "not installed"
