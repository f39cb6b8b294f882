from __future__ import annotations

from dataclasses import replace

import numpy as np

from sa3d.objects.segmentation import Segmentation
from sa3d.report.view_choice import prompted_views, spread_views
from sa3d.testing.analytic_scene import AnalyticScene


def test_views_shown_are_the_prompted_and_far_apart(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    one = voted.object("ball")
    assert prompted_views(still_life.scene, one) == [0]
    chosen = spread_views(still_life.scene, one, 4)
    assert chosen[0] == 0
    assert len(set(chosen)) == 4
    centers = np.array([v.camera.position.numpy() for v in still_life.scene.views])
    apart = np.linalg.norm(centers[chosen][:, None] - centers[chosen], axis=-1)
    assert apart[apart > 0].min() > 1.5
    unseen = {i: replace(r, outcome="unseen") if i % 2 else r for i, r in one.views.items()}
    assert all(i % 2 == 0 for i in spread_views(still_life.scene, replace(one, views=unseen), 12))
