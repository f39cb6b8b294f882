"""Settings of how trained models are evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sa3d.base.ranges import Checked

Tcnn = Literal["auto", "torch", "native"]


@dataclass
class FieldsConfig(Checked, place="fields"):
    """Settings of how trained models are evaluated; results do not depend on them."""

    tcnn: Tcnn = "auto"
    """Evaluates weights that were trained with tiny-cuda-nn: torch (on every device), native
    (tiny-cuda-nn itself, on a GPU, in half precision), or auto: native where it is installed."""
