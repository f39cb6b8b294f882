"""Choices of the benchmark: layouts of data sets, and protocols."""

from __future__ import annotations

from typing import Literal

Layout = Literal["demo", "folders", "nvos", "spin-nerf"]


Protocol = Literal["visible", "unseen"]
