"""The segmenter that "auto" chooses, and its reason."""

from __future__ import annotations

import pytest

from sa3d.segmenters import choice
from sa3d.segmenters.choice import PATIENCE_S, choose_segmenter
from sa3d.segmenters.loading import load_segmenter
from sa3d.segmenters.registry import EMBEDDED, REGISTRY


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the segmenters whose weights are assumed to be on this machine."""
    names: set[str] = set()
    ids = {info.hub_id: info.name for info in REGISTRY.values()}
    monkeypatch.setattr(choice, "cached_folder", lambda hub_id: ids[hub_id] in names or None)
    return names


@pytest.mark.parametrize(
    ("names", "device", "chosen", "reason"),
    [
        ([], "cpu", "graphcut", "no weights of another one on this machine"),
        (["sam2.1-tiny"], "cpu", "sam2.1-tiny", "on a CPU"),
        (["sam2.1-tiny", "sam2.1-small", "sam2.1-large"], "cpu", "sam2.1-small", "on a CPU"),
        (["sam2.1-tiny", "sam2.1-small", "sam2.1-large"], "cuda", "sam2.1-large", "on a GPU"),
        (["sam-huge", "slimsam-77"], "cpu", "slimsam-77", "larger ones take long"),
        (["sam-huge"], "cpu", "graphcut", "sam-huge is here, but takes about"),
        (["sam3"], "cuda", "graphcut", "sam3 is here, but is only used when named"),
        (["sam3", "edgetam"], "cuda", "edgetam", "on a GPU"),
    ],
)
def test_choice(here: set[str], names: list[str], device: str, chosen: str, reason: str) -> None:
    here.update(names)
    made = choose_segmenter(device)
    assert made.name == chosen
    assert reason in made.reason


def test_edgetam_is_not_chosen_with_an_old_timm(
    here: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sa3d.segmenters.sam import loading as sam_loading

    here.add("edgetam")
    monkeypatch.setattr(sam_loading, "timm_problem", lambda: "too old")
    assert choose_segmenter("cpu").name == EMBEDDED
    assert "needs a newer timm" in choose_segmenter("cpu").reason


def test_without_transformers(here: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    here.add("sam2.1-tiny")
    monkeypatch.setattr(choice, "find_spec", lambda _: None)
    assert choose_segmenter("cpu").name == EMBEDDED
    assert "transformers" in choose_segmenter("cpu").reason


def test_auto_loads_the_choice(here: set[str]) -> None:
    assert load_segmenter("auto").name == EMBEDDED


def test_ranks_are_an_order() -> None:
    ranks = [info.rank for info in REGISTRY.values()]
    assert len(set(ranks)) == len(ranks)
    assert max(ranks) == REGISTRY[EMBEDDED].rank
    assert REGISTRY["sam2.1-tiny"].cpu_s < PATIENCE_S < REGISTRY["sam-base"].cpu_s
