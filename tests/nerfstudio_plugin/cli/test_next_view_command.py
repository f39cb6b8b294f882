"""``sa3d next-view``: a ranked list with reasons."""

from __future__ import annotations

import json


def test_views_are_ranked_with_reasons(command_line, ball) -> None:
    out = command_line.succeeds(
        *("next-view", "--segmentation", ball, "--count", "3", "--json", "next.json")
    )
    ranked = json.loads((command_line.folder / "next.json").read_text())["objects"]["ball"]
    assert len(ranked) == 3
    assert [one["score"] for one in ranked] == sorted((o["score"] for o in ranked), reverse=True)
    for one in ranked:
        assert one["view"] in out
        assert one["reason"] in out


def test_bad_requests_are_refused(command_line, ball) -> None:
    line = command_line.refuses("next-view", "--segmentation", ball, "--objects", "cup")
    assert "no object 'cup'" in line
    line = command_line.refuses("next-view", "--segmentation", ball, "--count", "0")
    assert "at least one view" in line
