"""Every number in every config has a range, and NaN is in none."""

from __future__ import annotations

import importlib
import math
import pkgutil
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, get_args, get_type_hints

import pytest

import sa3d
from sa3d.base.errors import SA3DError
from sa3d.base.ranges import POSITIVE, SHARE, Checked, Within, ranges


def configs() -> list[type]:
    modules = pkgutil.walk_packages(sa3d.__path__, "sa3d.")
    named = [one.name for one in modules if one.name.endswith(".config")]
    found = [kind for name in named for kind in vars(importlib.import_module(name)).values()]
    classes = [one for one in found if is_dataclass(one) and isinstance(one, type)]
    classes = [one for one in classes if one.__module__.endswith(".config")]
    return sorted(set(classes), key=lambda one: one.__name__)


NUMBERS = [
    (kind, item.name)
    for kind in configs()
    for item in fields(kind)
    if {int, float} & {(hint := get_type_hints(kind)[item.name]), *get_args(hint)}
]


def test_the_configs_are_found() -> None:
    names = {kind.__name__ for kind in configs()}
    assert names >= {"LoopConfig", "ConvergenceConfig", "PrepareConfig", "MeshConfig"}
    assert len(NUMBERS) > 60


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_every_number_has_a_range(kind: type, name: str) -> None:
    allowed, whole = ranges(kind)[name]
    below = allowed.least - 1
    for wrong in (math.nan, math.inf, -math.inf, below, allowed.most + 1, True, "1", [1], 10**400):
        with pytest.raises(SA3DError, match=rf"{name}' must be "):
            kind(**{name: wrong})
    if whole:
        with pytest.raises(SA3DError, match="a whole number"):
            kind(**{name: allowed.least + 0.5})


@dataclass
class Sizes(Checked, place="sizes"):
    share: Annotated[float, SHARE] = 0.5
    side: Annotated[int | None, Within(2, 8)] = None
    scale: Annotated[float, POSITIVE] = 1.0


def test_the_ends_of_a_range() -> None:
    for good in ({"share": 0}, {"share": 1}, {"side": 2}, {"side": 8}, {"side": None}):
        Sizes(**good)
    Sizes(scale=5e-324)
    for wrong, words in (
        ({"share": 1.01}, "^'sizes.share' must be between 0 and 1, is 1.01$"),
        ({"share": None}, "^'sizes.share' must be between 0 and 1, is None$"),
        ({"side": 9}, "^'sizes.side' must be between 2 and 8, is 9$"),
        ({"scale": 0}, "^'sizes.scale' must be above 0, is 0$"),
    ):
        with pytest.raises(SA3DError, match=words):
            Sizes(**wrong)
