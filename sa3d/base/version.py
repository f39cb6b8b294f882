"""The version of the installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Version of the installed package."""
    try:
        return version("sa3d-nerfstudio")
    except PackageNotFoundError:
        return "not installed"
