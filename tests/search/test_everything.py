"""All objects of an analytic scene, found with a segmenter that knows the answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sa3d.evaluation.stages import mean_iou_over_views
from sa3d.objects.prompts import Prompt
from sa3d.results.final_masks import final_masks
from sa3d.search.config import ProposalConfig
from sa3d.search.events import ObjectsProposed
from sa3d.search.everything import (
    EverythingSearch,
    ObjectProposal,
    found_objects,
    group_by_overlap,
)
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_segmenter import OracleSegmenter


def oracle(still_life: AnalyticScene) -> OracleSegmenter:
    views = still_life.scene.views
    return OracleSegmenter(
        {view.name: view.image() for view in views},
        {
            view.name: {name: stack[i] for name, stack in still_life.masks.items()}
            for i, view in enumerate(views)
        },
    )


def test_ball_and_crate_are_found_without_a_prompt(still_life: AnalyticScene) -> None:
    session = EverythingSearch(still_life.scene, oracle(still_life))
    for _ in session.run():
        pass
    result = session.result()
    table = found_objects(result)
    masks = [final_masks(still_life.scene, result, i) for i in range(len(still_life.scene.views))]
    for name in ("ball", "crate"):
        best = max(
            mean_iou_over_views([view[found][0] for view in masks], list(still_life.masks[name]))
            for found in result.objects
        )
        assert best > 0.75, name
    assert [row.name for row in table] == list(result.objects)
    assert [row.size for row in table] == sorted((row.size for row in table), reverse=True)


def test_a_proposal_that_cannot_be_segmented_is_left_out(
    still_life: AnalyticScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = EverythingSearch(still_life.scene, oracle(still_life))
    right = search._prompts

    def with_sky(name: str, proposal: ObjectProposal) -> list[Prompt]:
        (first, *_) = right(name, proposal)
        if name != "object_1":
            return right(name, proposal)
        index = still_life.scene.view_index(first.view)
        seen = np.any([masks[index] for masks in still_life.masks.values()], axis=0)
        return [replace(first, mask=~seen)]

    monkeypatch.setattr(search, "_prompts", with_sky)
    events = list(search.run())
    proposed = next(e.count for e in events if isinstance(e, ObjectsProposed))
    assert search.finished == {f"object_{i + 1}" for i in range(1, proposed)}
    assert search.result().objects


def test_masks_group_by_overlap_one_of_each_view() -> None:
    # Masks 0, 1, 2 of views 0, 1, 1: 1 overlaps mask 0 more than 2 does; mask 3 is alone.
    overlap = torch.eye(4)
    overlap[0, 1] = overlap[1, 0] = 0.9
    overlap[0, 2] = overlap[2, 0] = 0.6
    groups = group_by_overlap(overlap, [0, 1, 1, 2], ProposalConfig())
    assert [sorted(group) for group, _ in groups] == [[0, 1]]
    assert groups[0][1] == pytest.approx(0.9)
