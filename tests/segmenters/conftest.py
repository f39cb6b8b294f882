"""Tiny random SAM weights of the real classes, saved in the hub's format."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from sa3d.testing.random_sam import save_tiny_sam


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes a folder with tiny random weights; do not change the folder."""

    @functools.cache
    def folder(family: str) -> Path:
        return save_tiny_sam(family, tmp_path_factory.mktemp(f"tiny_{family}"))

    return folder


@pytest.fixture(scope="session")
def tiny_sam(tiny_weights: Callable[[str], Path]) -> Path:
    return tiny_weights("sam")


@pytest.fixture(scope="session")
def tiny_sam2(tiny_weights: Callable[[str], Path]) -> Path:
    return tiny_weights("sam2")
