"""Tests of the surface that stands out under a click."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sa3d.base.mask_overlap import iou
from sa3d.evaluation.simulated_user import box_of, next_click
from sa3d.loop.config import LoopConfig
from sa3d.loop.object_loop import ObjectLoop
from sa3d.objects.prompts import Prompt
from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter
from sa3d.surfaces.standing_out import StandingOut
from sa3d.testing.analytic_scene import AnalyticScene, analytic_scene
from sa3d.testing.oracle_segmenter import OracleSegmenter
from sa3d.voting import clicked_surface as module
from sa3d.voting.clicked_surface import clicked_surface


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> AnalyticScene:
    folder = tmp_path_factory.mktemp("clicked")
    return analytic_scene(folder, num_views=10, size=(96, 72), resolution=16)


def click(scene: AnalyticScene, name: str, view: int = 1, label: int = 1) -> Prompt:
    exact = scene.masks[name][view]
    found = next_click(np.zeros_like(exact), exact)
    assert found is not None
    return Prompt(scene.scene.views[view].name, "it", points=(found[0],), labels=(label,))


def test_a_click_means_the_whole_thing_it_lies_on(scene: AnalyticScene) -> None:
    for name in ("ball", "crate"):
        surface = clicked_surface(scene.scene, 1, [click(scene, name)])
        assert surface is not None
        assert surface.shape == scene.masks[name][1].shape
        assert iou(surface > 0.5, scene.masks[name][1]) > 0.75


def test_clicks_on_two_things_mean_both(scene: AnalyticScene) -> None:
    surface = clicked_surface(scene.scene, 1, [click(scene, "ball"), click(scene, "crate")])
    assert surface is not None
    assert iou(surface > 0.5, scene.masks["ball"][1] | scene.masks["crate"][1]) > 0.75


@pytest.mark.parametrize(("x", "meant"), [(50, 1), (75, 2)])
def test_a_click_at_the_edge_of_what_was_clicked_means_nothing_else(
    scene: AnalyticScene, monkeypatch: pytest.MonkeyPatch, x: float, meant: int
) -> None:
    found = torch.full((6, 8), -1)
    found[1:4, 1:4], found[1:4, 4:7] = 0, 1  # side by side; 12 pixels of the photo each way
    monkeypatch.setattr(module, "_clusters", lambda _, __: found)
    clicks = Prompt(scene.scene.views[1].name, "it", points=((30, 30), (x, 30)), labels=(1, 1))
    surface = clicked_surface(scene.scene, 1, [clicks])
    assert surface is not None
    inside = torch.nn.functional.max_pool2d(torch.from_numpy(surface)[None], 12)[0] > 0.9
    assert int(inside[2, :4].sum()) == 3
    assert int(inside[2, 4:].sum()) == 3 * (meant - 1)


def test_nothing_where_nothing_stands_out_or_the_size_is_said(scene: AnalyticScene) -> None:
    assert clicked_surface(scene.scene, 1, [click(scene, "table")]) is None
    assert clicked_surface(scene.scene, 1, [click(scene, "ball", label=0)]) is None
    box = Prompt(scene.scene.views[1].name, "it", box=box_of(scene.masks["ball"][1]))
    assert clicked_surface(scene.scene, 1, [click(scene, "ball"), box]) is None
    chosen = Prompt(box.view, "it", points=click(scene, "ball").points, labels=(1,), candidate=0)
    assert clicked_surface(scene.scene, 1, [chosen]) is None


def test_found_once_for_a_scene(scene: AnalyticScene, monkeypatch: pytest.MonkeyPatch) -> None:
    once = clicked_surface(scene.scene, 1, [click(scene, "ball")])
    assert once is not None
    [stored] = Path(scene.scene.cache).glob("standing_out*")
    monkeypatch.setattr(type(scene.field), "render", None)  # the field must not be evaluated
    with monkeypatch.context() as patch:
        patch.setattr(module, "find_standing_out", None)
        again = clicked_surface(scene.scene, 1, [click(scene, "ball")])
    assert again is not None
    np.testing.assert_array_equal(once, again)
    stored.write_bytes(stored.read_bytes()[:100])
    again = clicked_surface(scene.scene, 1, [click(scene, "ball")])
    assert again is not None
    np.testing.assert_array_equal(once, again)


def test_only_a_segmenter_without_weights_is_told(
    scene: AnalyticScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = click(scene, "ball")
    views = scene.scene.views
    knowing = OracleSegmenter(
        {view.name: view.image() for view in views},
        {v.name: {"ball": scene.masks["ball"][i]} for i, v in enumerate(views)},
    )
    views: list[int] = []
    monkeypatch.setattr(
        "sa3d.loop.object_loop.clicked_surface", lambda _, index, __: views.append(index)
    )
    for segmenter in (knowing, GraphCutSegmenter()):
        ObjectLoop(scene.scene, segmenter, "it", [prompt], LoopConfig()).mask_from_prompts(
            1, [prompt]
        )
    assert views == [1]


def test_the_numbers_of_clusters_do_not_wrap(
    scene: AnalyticScene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shapes = [scene.scene.prepared(i).camera for i in range(len(scene.scene.views))]
    many = StandingOut([], 0.0, [torch.full((c.height, c.width), 65536) for c in shapes])
    monkeypatch.setattr(module, "find_standing_out", lambda *_: many)
    monkeypatch.setattr(module, "_FILE", "many.npz")
    for _ in ("found", "read"):
        assert module._clusters(scene.scene, 1).unique().tolist() == [65536]
