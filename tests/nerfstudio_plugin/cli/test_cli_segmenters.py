"""``sa3d segmenters``, and the sentence about "auto"."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nerfstudio_plugin.cli import main
from sa3d.loop.settings import Settings
from sa3d.segmenters import choice
from sa3d.segmenters.choice import resolve_segmenter
from sa3d.segmenters.registry import REGISTRY


def test_every_segmenter_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "segmenters.json"
    assert main(["segmenters", "--device", "cpu", "--json", str(report)]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name} " in out for name in REGISTRY)
    assert "auto takes graphcut: there are no weights of another one" in out
    assert "hf download facebook/sam2.1-hiera-tiny" in out
    listed = json.loads(report.read_text())
    assert [one["name"] for one in listed["segmenters"] if one["here"]] == ["graphcut"]
    assert [one["name"] for one in listed["segmenters"] if one["gated"]] == ["sam3"]
    assert listed["auto"]["name"] == "graphcut"


def test_local_segmenters_are_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = REGISTRY["sam2.1-tiny"].hub_id
    monkeypatch.setattr(choice, "cached_folder", lambda hub_id: hub_id == here or None)
    assert main(["segmenters", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    [row] = [line for line in out.splitlines() if line.startswith("sam2.1-tiny ")]
    assert row.split()[1] == "yes"
    assert "auto takes sam2.1-tiny: the best one" in out
    assert "Recommended" not in out


def test_auto_names_its_choice_and_the_reason() -> None:
    sentence = resolve_segmenter(Settings().segmenter, "cpu").sentence
    assert sentence.startswith("segmenter: graphcut (there are no weights of another one")
    assert resolve_segmenter("graphcut", "cpu").sentence == ""
