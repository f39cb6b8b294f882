"""docs/constants.md lists the constants of the code, and runs change them everywhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "scripts" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import constants  # noqa: E402
import constants_measured  # noqa: E402
from constants import Constant, Numbers, find_constants, markdown, shown_value  # noqa: E402

from sa3d.loop.config import LoopConfig  # noqa: E402
from sa3d.voting.self_prompting import SelfPromptConfig  # noqa: E402

SOURCE = """
from sa3d.base import other

GAP, WIDTH = 0.5, -2
"\""Two numbers."\""
FIRST = 1
SECOND = 1 << 3
"\""Share a docstring."\""
NAME = "no number"
THIRD: float = 3.0
lower = 3


class ThingConfig:
    share: float = 0.25
    "\""A share."\""
    name: str = "thing"
"""


def listed(text: str) -> list[tuple[str, str]]:
    """Names and values of the tables of docs/constants.md."""
    return re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", text, re.MULTILINE)


def split_key(key: str) -> tuple[str, str]:
    """A constant's module and name."""
    name = constants.own_name(key)
    return key.removesuffix(f".{name}"), name


def in_code(root: Path = constants.ROOT) -> list[tuple[str, str]]:
    return [(constant.key, shown_value(constant)) for constant in find_constants(root)]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with one module, ``sa3d.voting.thing``."""
    (tmp_path / "sa3d" / "voting").mkdir(parents=True)
    (tmp_path / "sa3d" / "voting" / "thing.py").write_text(SOURCE)
    return tmp_path


def test_the_table_is_up_to_date() -> None:
    """Otherwise run: python scripts/benchmarks/constants.py."""
    assert sorted(listed(constants.TABLE.read_text())) == sorted(in_code())


@pytest.mark.parametrize(("old", "new"), [("0.5", "0.6"), ("WIDTH", "LENGTH"), ("share", "part")])
def test_a_changed_value_or_name_is_noticed(sources: Path, old: str, new: str) -> None:
    text = markdown(find_constants(sources), Numbers())
    assert sorted(listed(text)) == sorted(in_code(sources))
    module = sources / "sa3d" / "voting" / "thing.py"
    module.write_text(SOURCE.replace(old, new, 1))
    assert sorted(listed(text)) != sorted(in_code(sources))


def test_finds_numbers_and_their_docstrings(sources: Path) -> None:
    found = {c.name: (c.value, c.doc) for c in find_constants(sources)}
    assert found == {
        "GAP": ("0.5", "Two numbers."),
        "WIDTH": ("-2", "Two numbers."),
        "FIRST": ("1", "Share a docstring."),
        "SECOND": ("1 << 3", "Share a docstring."),
        "THIRD": ("3.0", ""),
        "ThingConfig.share": ("0.25", "A share."),
    }


def test_marks_what_decides_and_keeps_numbers_of_moved_constants() -> None:
    here = [Constant("sa3d.voting.new", name, "0.5", "") for name in ("GAP", "FLAT", "BAD", "LATE")]
    keys = [f"sa3d.voting.old.{c.name}" for c in here]
    runs = [
        {"constant": key, "factor": factor, "mean": mean, "errors": errors}
        for key, mean, errors in zip(
            keys[:3], (0.8, 0.9001, 0.5), ({}, {}, {"mug": "lost"}), strict=True
        )
        for factor in (0.5, 2.0)
    ]
    setting = {"views": 26, "every": 2, "ray_side": 128, "mean": 0.9}
    text = markdown(here, Numbers(setting, dict.fromkeys(keys, "0.5"), {}, runs))
    rows = {row.split("`")[1].split(".")[-1]: row for row in text.splitlines() if "| `" in row}
    assert rows["GAP"].endswith("| -0.1000 | -0.1000 | decides |")
    assert rows["FLAT"].endswith("| +0.0001 | +0.0001 | nothing |")
    assert rows["BAD"].endswith("| fails | fails | decides |")
    assert rows["LATE"].endswith("| not measured | not measured |  |")
    here[0] = Constant("sa3d.voting.new", "GAP", "0.6", "")
    assert "not measured" in markdown(here, Numbers(setting, {here[0].key: "0.5"}, {}, runs))


def test_numbers_are_read_as_they_were_written(tmp_path: Path) -> None:
    numbers = Numbers({"mean": 0.9}, {"a.B": "1"}, {"a.C": "2"}, [{"constant": "a.B", "factor": 2}])
    numbers.save(tmp_path / "numbers.json")
    assert Numbers.load(tmp_path / "numbers.json") == numbers


@pytest.mark.parametrize(
    ("value", "half", "twice"),
    [(3, 2, 6), (1, 1, 2), (0.7, 0.35, 1.0), (1.0, 0.5, 2.0), ((2, 0.25), (1, 0.125), (4, 0.5))],
)
def test_scales_integers_shares_and_tuples(value: object, half: object, twice: object) -> None:
    assert constants_measured.scaled(value, 0.5) == half
    assert constants_measured.scaled(value, 2.0) == twice


def test_a_constant_changes_in_every_module_that_imported_it() -> None:
    from sa3d.segmenters import protocol
    from sa3d.voting import self_prompting

    places = (protocol, self_prompting)
    assert all(hasattr(place, "LOGITS_SIZE") for place in places)
    constant = Constant("sa3d.segmenters.protocol", "LOGITS_SIZE", "256", "")
    with constants_measured.changed(constant, 256, 128):
        assert [place.LOGITS_SIZE for place in places] == [128, 128]
    assert [place.LOGITS_SIZE for place in places] == [256, 256]


def test_notes_which_constants_are_read() -> None:
    from sa3d.loop import object_state

    def doubt() -> None:
        object_state.ObjectState.doubt.fget(SimpleNamespace(config=LoopConfig()))

    read = [
        "sa3d.loop.object_state.DOUBT",
        f"{LoopConfig.__module__}.LoopConfig.prompt_prior_weight",
    ]
    unread = ["sa3d.scene.scene.CACHE_VERSION", f"{LoopConfig.__module__}.LoopConfig.prior"]
    everything = [Constant(*split_key(key), "", "") for key in (*read, *unread)]
    reads = constants_measured.Reads(everything)
    doubt()
    assert reads.keys == set()
    with reads.noted():
        doubt()
    assert reads.keys == set(read)


def test_a_setting_changes_its_default_alone() -> None:
    module, name = SelfPromptConfig.__module__, "SelfPromptConfig.ring"
    usual = SelfPromptConfig()
    with constants_measured.changed(Constant(module, name, "0.6", ""), 0.6, 0.3):
        assert LoopConfig().prompting.ring == 0.3
        assert LoopConfig().prompting.spread == usual.spread
    assert LoopConfig().prompting == usual
