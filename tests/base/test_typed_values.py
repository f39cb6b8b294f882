from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa3d.base.ranges import Within
from sa3d.base.typed_values import check_value


class Needed(TypedDict):
    name: str
    share: Annotated[float, Within(0, 1)]
    kind: Literal["box", "ball"]
    corners: tuple[tuple[int, int], tuple[int, int]]
    items: Annotated[list[dict[str, Any]], Within(1)]


class Saved(Needed, total=False):
    note: str | None


@dataclass
class Done:
    round: int
    mean: float | None = None


GOOD = {
    "name": "mug",
    "share": 1,
    "kind": "box",
    "corners": [[0, 1], [2, 3]],
    "items": [{"any": "thing"}],
    "unknown": "allowed",
}


def test_what_fits_is_taken() -> None:
    check_value(GOOD, Saved)
    check_value(GOOD | {"note": None, "share": 0.5}, Saved)
    check_value({"round": 3, "mean": 0.5}, Done)
    check_value({"round": 3}, Done)
    check_value([1, None, 2], list[int | None])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 5}, "^name must be text, is 5$"),
        ({"share": "1"}, "^share must be a number, is '1'$"),
        ({"share": True}, "^share must be a number, is True$"),
        ({"share": float("nan")}, "^share must be a number, is nan$"),
        ({"share": float("inf")}, "^share must be a number, is inf$"),
        ({"share": 1.5}, "^share must be between 0 and 1, is 1.5$"),
        ({"kind": "cone"}, "^kind must be one of box, ball, is 'cone'$"),
        ({"kind": ["box"]}, "^kind must be one of"),
        ({"corners": [[0, 1], [2, 3.5]]}, r"^corners\[1\]\[1\] must be a whole number, is 3.5$"),
        ({"corners": [[0, 1]]}, "^corners must be a list of 2, is"),
        ({"corners": [[0, 1], 5]}, r"^corners\[1\] must be a list of 2, is 5$"),
        ({"items": []}, "^items must have a length of at least 1, is 0$"),
        ({"items": {}}, "^items must be a list, is {}$"),
        ({"items": [5]}, r"^items\[0\] must be an object {...}, is 5$"),
        ({"note": 5}, "^note must be text or null, is 5$"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_value(GOOD | change, Saved)


def test_missing_members_are_named() -> None:
    with pytest.raises(ValueError, match=r"^one\.kind is missing$"):
        check_value({key: GOOD[key] for key in GOOD if key != "kind"}, Saved, "one")
    with pytest.raises(ValueError, match=r"^round is missing$"):
        check_value({}, Done)
    with pytest.raises(ValueError, match=r"^rounds\[0\]\.round must be a whole number, is False$"):
        check_value([{"round": False}], list[Done], "rounds")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(GOOD)), value=anything)
def test_any_value_fits_or_raises_one_error(key: str, value: Any) -> None:
    try:
        check_value(GOOD | {key: value}, Saved)
    except ValueError:
        return
    assert key == "unknown" or json.loads(json.dumps({key: value}))
