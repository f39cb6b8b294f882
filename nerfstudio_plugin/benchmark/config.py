"""Options of the benchmark: layouts of data sets, and protocols."""

from __future__ import annotations

from typing import Literal

Layout = Literal["demo", "folders", "nvos", "spin-nerf"]
"""Layout of a data set; see ``cases``."""


Protocol = Literal["visible", "unseen"]
"""A rule for the views that may be used; see ``protocols``."""
