from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from sa3d.base.errors import SA3DError
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.report.config import ReportConfig
from sa3d.report.page import images_per_object, prompted_views, report_page, shown_views
from sa3d.testing.analytic_scene import AnalyticScene

QUICK = ReportConfig(max_views=3, doubt_views=1, turntable_frames=2, turntable_side=24)


def test_page_says_why_views_were_rejected_and_escapes_names(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    one = voted.object("ball")
    rejected = replace(one.views[3], outcome="rejected", agreement=0.31)
    views = one.views | {
        3: replace(rejected, reason="IoU 0.31 with the other views is under the gate"),
        4: replace(rejected, reason=""),  # as in folders of the first versions
        5: replace(one.views[5], reason="kept: IoU 0.97 with the other views"),
    }
    name = "<b>ball"
    changed = replace(voted, objects={name: replace(one, name=name, views=views, converged=False)})
    reported: list[str] = []
    page = report_page(
        still_life.scene,
        changed,
        [name],
        {"checkpoint_sha256": "abc"},
        config=QUICK,
        min_agreement=0.5,
        progress=reported.append,
    )
    assert "<b>ball" not in page
    assert "&lt;b&gt;ball" in page
    assert "IoU 0.31 with the other views is under the gate of 0.5" in page
    assert "agrees too little with the other views: is under the gate of 0.5" in page
    assert "kept: IoU 0.97 with the other views" in page
    assert 'class="verdict bad"' in page
    assert page.count("data:image/webp") == 1
    assert len(reported) == 3 + 1 + 2 + 2 <= images_per_object(QUICK)
    assert "http" not in page


def test_page_shows_the_agreement_of_the_round_that_was_kept(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    config = ReportConfig(max_views=1, doubt_views=0, turntable=False)
    done = voted.object("ball").rounds[0]
    rounds = [replace(done, agreement=0.611), replace(done, round=2, agreement=0.522)]
    for kept, shown in ((1, ["0.611"]), (0, [])):
        one = replace(voted.object("ball"), rounds=rounds, kept_round=kept)
        changed = replace(voted, objects={"ball": one})
        page = report_page(still_life.scene, changed, ["ball"], {}, config=config)
        assert re.findall(r"<dt>agreement</dt><dd>([\d.]+)", page) == shown
        assert page.count("(kept)") == len(shown)


def test_page_of_an_object_without_surface(still_life: AnalyticScene, voted: Segmentation) -> None:
    nothing = replace(voted.object("ball"), evidence=Evidence.zeros(len(voted.elements)))
    empty = replace(voted, objects={"ball": nothing})
    page = report_page(still_life.scene, empty, ["ball"], {}, config=QUICK)
    assert "is empty: no part of the scene belongs to it" in page.replace("&#39;", "'")
    assert "data:image/webp" not in page
    with pytest.raises(SA3DError, match="no object 'cat'"):
        report_page(still_life.scene, empty, ["cat"], {}, config=QUICK)


def test_views_shown_are_the_prompted_and_far_apart(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    one = voted.object("ball")
    assert prompted_views(still_life.scene, one) == [0]
    chosen = shown_views(still_life.scene, one, 4)
    assert chosen[0] == 0
    assert len(set(chosen)) == 4
    centers = np.array([v.camera.position.numpy() for v in still_life.scene.views])
    apart = np.linalg.norm(centers[chosen][:, None] - centers[chosen], axis=-1)
    assert apart[apart > 0].min() > 1.5
    unseen = {i: replace(r, outcome="unseen") if i % 2 else r for i, r in one.views.items()}
    assert all(i % 2 == 0 for i in shown_views(still_life.scene, replace(one, views=unseen), 12))
