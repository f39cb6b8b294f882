"""Tests of merging, splitting, renaming and deleting objects, on a scene with exact masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.evaluation.stages import iou, mean_iou_over_views
from sa3d.export.masks import PhotoMasks
from sa3d.loop.config import LoopConfig
from sa3d.loop.session import Session
from sa3d.objects.checkpoint import load_segmentation, save_segmentation
from sa3d.objects.events import Finished, ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation
from sa3d.results.config import RefinementConfig
from sa3d.results.final_masks import final_masks
from sa3d.scene.config import PrepareConfig
from sa3d.scene.scene import Scene
from sa3d.testing.analytic_fields import Box
from sa3d.testing.analytic_scene import TABLE, AnalyticScene, analytic_scene
from sa3d.testing.oracle_segmenter import OracleSegmenter

BODY = Box((-0.3, -0.3, -0.4), (0.3, 0.3, 0.1))
CAP = Box((-0.2, -0.2, 0.1), (0.2, 0.2, 0.4))


@pytest.fixture(scope="module")
def bottle(tmp_path_factory: pytest.TempPathFactory) -> AnalyticScene:
    """A bottle made of a body and a cap, on a table. Do not change it."""
    shapes = {"cap": CAP, "body": BODY, "table": TABLE}
    return analytic_scene(tmp_path_factory.mktemp("bottle"), shapes, num_views=12)


def session_in(bottle: AnalyticScene) -> Session:
    """Return a session whose segmenter knows both parts, and the bottle as one object."""
    views = bottle.scene.views
    segmenter = OracleSegmenter(
        {view.name: view.image() for view in views},
        {view.name: dict(parts_of_view(bottle, i)) for i, view in enumerate(views)},
    )
    return Session(bottle.scene, segmenter)


def parts_of_view(bottle: AnalyticScene, index: int) -> dict[str, np.ndarray]:
    cap, body = bottle.masks["cap"][index], bottle.masks["body"][index]
    return {"cap": cap, "body": body, "bottle": cap | body}


def drawn(bottle: AnalyticScene, name: str, view: int) -> Prompt:
    mask = parts_of_view(bottle, view)[name]
    return Prompt(bottle.scene.views[view].name, name, mask=mask)


def click(bottle: AnalyticScene, part: str, view: int, name: str = "object") -> Prompt:
    """Return a click in the middle of a part."""
    places = np.argwhere(bottle.masks[part][view])
    y, x = places[len(places) // 2]
    return Prompt(bottle.scene.views[view].name, name, ((float(x), float(y)),), (1,))


def segmented(bottle: AnalyticScene, *prompts: Prompt) -> Session:
    session = session_in(bottle)
    session.add_prompts(prompts)
    list(session.run())
    return session


@pytest.fixture(scope="module")
def in_parts(bottle: AnalyticScene) -> Segmentation:
    """Cap and body, prompted in views 0 and 5."""
    return segmented(bottle, drawn(bottle, "cap", 0), drawn(bottle, "body", 5)).result()


@pytest.fixture(scope="module")
def in_one(bottle: AnalyticScene) -> Segmentation:
    """The bottle, prompted in view 0."""
    return segmented(bottle, drawn(bottle, "bottle", 0)).result()


def reopened(bottle: AnalyticScene, segmentation: Segmentation) -> Session:
    session = session_in(bottle)
    session.resume(segmentation)
    return session


def mean_iou(bottle: AnalyticScene, session: Session, name: str, truth: str) -> float:
    views = range(len(bottle.scene.views))
    result = session.result()
    masks = [final_masks(bottle.scene, result, i)[name][0] for i in views]
    return mean_iou_over_views(masks, [parts_of_view(bottle, i)[truth] for i in views])


def bits(session: Session) -> dict[str, list[torch.Tensor]]:
    """Return the state of all objects, in their order, to compare bit for bit."""
    return {
        name: [
            one.evidence.object,
            one.evidence.total,
            *(torch.from_numpy(r.mask) for r in one.views.values() if r.mask is not None),
        ]
        for name, one in session.result().objects.items()
    }


def same(one: dict[str, list[torch.Tensor]], other: dict[str, list[torch.Tensor]]) -> bool:
    return list(one) == list(other) and all(
        len(one[name]) == len(other[name])
        and all(torch.equal(a, b) for a, b in zip(one[name], other[name], strict=True))
        for name in one
    )


def test_two_objects_become_one_without_asking_any_view(
    bottle: AnalyticScene, in_parts: Segmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = reopened(bottle, in_parts)
    monkeypatch.setattr(OracleSegmenter, "predict", None)
    session.merge_objects(["cap", "body"], "bottle")
    result = session.result()
    assert list(result.objects) == ["bottle"]
    assert mean_iou(bottle, session, "bottle", "bottle") > 0.95
    evidence = result.object("bottle").evidence
    assert bool((evidence.object <= evidence.total + 1e-4).all())
    assert list(session.run()) == []
    assert "merged from cap, body" in result.object("bottle").verdict
    assert [p.view for p in session.prompts("bottle")] == [
        bottle.scene.views[i].name for i in (0, 5)
    ]


def test_a_merged_view_votes_once_for_the_union_of_the_masks(bottle: AnalyticScene) -> None:
    session = segmented(bottle, drawn(bottle, "cap", 0), drawn(bottle, "body", 0))
    session.merge_objects(["body", "cap"], "body")
    record = session.result().object("body").views[0]
    assert record.outcome == "prompted"
    assert record.mask is not None
    np.testing.assert_array_equal(record.mask, parts_of_view(bottle, 0)["bottle"])
    (prompt,) = session.prompts("body")
    assert isinstance(prompt.mask, np.ndarray)
    np.testing.assert_array_equal(prompt.mask, parts_of_view(bottle, 0)["bottle"])


def test_prompts_of_one_view_are_combined(bottle: AnalyticScene) -> None:
    on_cap, on_body = click(bottle, "cap", 0).points[0], click(bottle, "body", 0).points[0]
    view = bottle.scene.views[0].name
    session = segmented(
        bottle,
        Prompt(view, "cap", (on_cap, on_body), (1, 0)),
        Prompt(view, "body", (on_body, (0.0, 0.0)), (1, 0), box=(10, 10, 40, 35)),
    )
    session.merge_objects(["cap", "body"], "bottle")
    (prompt,) = session.prompts("bottle")
    labels = dict(zip(prompt.points, prompt.labels, strict=True))
    assert labels == {on_cap: 1, on_body: 1, (0.0, 0.0): 0}
    x, y = on_cap
    assert prompt.box == (10, min(10, y), 40, 35)
    assert x > 10


def test_a_merged_object_can_be_corrected(bottle: AnalyticScene, in_parts: Segmentation) -> None:
    session = reopened(bottle, in_parts)
    session.merge_objects(["cap", "body"], "bottle")
    session.add_prompts([drawn(bottle, "bottle", 8)])
    asked = [event for event in session.run() if isinstance(event, ViewDone)]
    assert asked[0].view == bottle.scene.views[8].name
    assert mean_iou(bottle, session, "bottle", "bottle") > 0.95


def test_a_click_splits_a_part_off(bottle: AnalyticScene, in_one: Segmentation) -> None:
    session = reopened(bottle, in_one)
    session.split_object("bottle", [click(bottle, "cap", 3)], "cap")
    record = session.result().object("cap").views[3]
    assert record.outcome == "prompted"
    assert record.mask is not None
    assert not (record.mask & ~parts_of_view(bottle, 3)["bottle"]).any()
    assert iou(record.mask, bottle.masks["cap"][3]) > 0.9
    events = list(session.run())
    assert [e.object for e in events if isinstance(e, Finished)] == ["cap", "bottle"]
    assert mean_iou(bottle, session, "cap", "cap") > 0.9
    assert mean_iou(bottle, session, "bottle", "body") > 0.9
    assert "cap was split off" in session.result().object("bottle").verdict
    labels = session.result().labels()
    assert set(labels.unique().tolist()) == {-1, 0, 1}
    whole = in_one.object("bottle").views
    for index, record in session.result().object("cap").views.items():
        if record.outcome == "accepted" and whole[index].outcome == "accepted":
            inside, around = record.mask, whole[index].mask
            assert inside is not None
            assert around is not None
            assert not (inside & ~around).any()


def test_a_mark_smaller_than_the_rays_is_refused(bottle: AnalyticScene) -> None:
    scene, dot = bottle.scene, np.zeros_like(bottle.masks["cap"][3])
    dot[18, 24] = True
    config = PrepareConfig(resolution=40, ray_side=12)
    coarse = Scene(bottle.field, scene.views, scene.cache.parent, config)
    list(coarse.prepare())
    session = Session(coarse, session_in(bottle).segmenter)
    session.add_prompts([Prompt(scene.views[3].name, "dot", mask=dot)])
    with pytest.raises(SA3DError, match="smaller than a ray's pixel"):
        list(session.run())


def test_what_was_split_can_be_merged_again(bottle: AnalyticScene, in_one: Segmentation) -> None:
    session = reopened(bottle, in_one)
    session.split_object("bottle", [click(bottle, "cap", 3)], "cap")
    with pytest.raises(SA3DError, match="not finished"):
        session.merge_objects(["bottle", "cap"], "bottle")
    list(session.run())
    session.merge_objects(["bottle", "cap"], "bottle")
    assert mean_iou(bottle, session, "bottle", "bottle") > 0.95


def test_a_part_that_a_user_drew_is_taken_out_of_the_drawing(
    bottle: AnalyticScene, in_one: Segmentation
) -> None:
    session = reopened(bottle, in_one)
    session.split_object("bottle", [drawn(bottle, "cap", 0)], "cap")
    list(session.run())
    first = session.prompts("bottle")[0]
    assert isinstance(first.mask, np.ndarray)
    np.testing.assert_array_equal(first.mask, bottle.masks["body"][0])
    mask = final_masks(bottle.scene, session.result(), 0)["bottle"][0]
    assert not (mask & bottle.masks["cap"][0]).any()


def test_points_of_the_whole_on_a_part_are_beside_the_rest(
    bottle: AnalyticScene, in_one: Segmentation
) -> None:
    session = reopened(bottle, in_one)
    on_cap = [click(bottle, "cap", view, "bottle") for view in (3, 7)]
    session.add_prompts(on_cap)
    list(session.run())
    session.split_object("bottle", [replace(on_cap[0], object="cap")], "cap")  # the same pixel
    list(session.run())
    given = [(p.points, p.labels) for p in session.prompts("bottle") if p.mask is None]
    assert given == [(p.points, (0,)) for p in (*on_cap, on_cap[0])]
    session.add_prompts([click(bottle, "body", 3, "bottle")])
    list(session.run())
    assert mean_iou(bottle, session, "bottle", "body") > 0.9


def test_a_click_taken_back_leaves_nothing_behind_in_its_view(bottle: AnalyticScene) -> None:
    session = Session(bottle.scene, session_in(bottle).segmenter, LoopConfig(neighbours=0))
    session.add_prompts([drawn(bottle, "body", 0)])
    list(session.run())
    before = bits(session)
    for part in ("body", "cap"):  # the second is wrong
        session.add_prompts([click(bottle, part, 7, "body")])
        list(session.run())
    record = session.result().object("body").views[7]
    assert record.mask is not None
    assert (record.mask & bottle.masks["cap"][7]).any()
    session.remove_prompt("body", 2)
    list(session.run())
    record = session.result().object("body").views[7]
    assert record.outcome == "prompted"
    assert record.mask is not None
    assert iou(record.mask, bottle.masks["body"][7]) > 0.95
    assert mean_iou(bottle, session, "body", "body") > 0.95
    for _ in range(3):
        assert session.undo()
    assert same(bits(session), before)


def test_a_renamed_object_is_the_same_object(bottle: AnalyticScene, in_parts: Segmentation) -> None:
    session = reopened(bottle, in_parts)
    before = bits(session)
    session.rename_object("cap", "lid")
    after = bits(session)
    assert list(after) == ["lid", "body"]
    assert same({"lid": before["cap"], "body": before["body"]}, after)
    assert {p.object for p in session.prompts("lid")} == {"lid"}
    assert {done.object for done in session.result().object("lid").rounds} == {"lid"}


def _merge(session: Session, bottle: AnalyticScene) -> None:
    session.merge_objects(["cap", "body"], "bottle")


def _split(session: Session, bottle: AnalyticScene) -> None:
    session.split_object("body", [Prompt(bottle.scene.views[2].name, box=(5, 5, 24, 30))], "part")
    list(session.run())


def _rename(session: Session, bottle: AnalyticScene) -> None:
    session.rename_object("cap", "lid")


def _remove(session: Session, bottle: AnalyticScene) -> None:
    session.remove_object("cap")


@pytest.mark.parametrize("edit", [_merge, _rename, _remove])
def test_every_edit_is_one_step_to_undo_and_redo(
    bottle: AnalyticScene, in_parts: Segmentation, edit: Callable[[Session, AnalyticScene], None]
) -> None:
    session = reopened(bottle, in_parts)
    before = bits(session)
    edit(session, bottle)
    after = bits(session)
    assert not same(before, after)
    assert session.undo()
    assert same(bits(session), before)
    assert session.redo()
    assert same(bits(session), after)


def test_a_split_is_undone_with_the_rounds_that_followed(
    bottle: AnalyticScene, in_one: Segmentation
) -> None:
    session = reopened(bottle, in_one)
    before = bits(session)
    session.split_object("bottle", [click(bottle, "cap", 3)], "cap")
    list(session.run())
    after = bits(session)
    assert session.undo()
    assert same(bits(session), before)
    assert [p.view for p in session.prompts("bottle")] == [bottle.scene.views[0].name]
    assert session.redo()
    assert same(bits(session), after)


def test_a_part_outlives_what_it_is_split_off(bottle: AnalyticScene, in_one: Segmentation) -> None:
    session = reopened(bottle, in_one)
    session.split_object("bottle", [click(bottle, "cap", 3)], "cap")
    session.remove_object("bottle")
    list(session.run())
    assert not session.unfinished
    assert mean_iou(bottle, session, "cap", "cap") > 0.9
    session.rename_object("cap", "bottle")  # finished: it may be edited
    session.undo()
    session.undo()
    list(session.run())
    assert mean_iou(bottle, session, "bottle", "body") > 0.9


def test_a_correction_during_a_split_is_undone_for_both(
    bottle: AnalyticScene, in_one: Segmentation
) -> None:
    session = reopened(bottle, in_one)
    session.split_object("bottle", [click(bottle, "cap", 3)], "cap")
    session.add_prompts([click(bottle, "body", 6, "bottle")])
    list(session.run())
    after = bits(session)
    assert session.undo()
    assert session.unfinished  # the bottle is whole again, the cap still to be taken out of it
    list(session.run())
    assert mean_iou(bottle, session, "bottle", "body") > 0.9
    assert session.redo()
    assert same(bits(session), after)


def test_edits_that_cannot_be_made_change_nothing(
    bottle: AnalyticScene, in_one: Segmentation
) -> None:
    session = reopened(bottle, in_one)
    session.add_prompts([drawn(bottle, "cap", 5)])  # not run
    before = bits(session)
    sky = Prompt(bottle.scene.views[3].name, points=((0, 0),), labels=(1,))
    all_of_it = drawn(bottle, "bottle", 3)
    words = {"points": (), "labels": (), "text": "cap"}
    for message, call in (
        ("no object 'x'", lambda: session.rename_object("x", "y")),
        ("already", lambda: session.rename_object("bottle", "cap")),
        ("invalid object name", lambda: session.rename_object("bottle", "a/b")),
        ("no object 'x'", lambda: session.merge_objects(["bottle", "x"], "y")),
        ("two objects", lambda: session.merge_objects(["bottle", "bottle"], "y")),
        ("not finished", lambda: session.merge_objects(["bottle", "cap"], "y")),
        ("no object 'x'", lambda: session.split_object("x", [sky], "y")),
        ("already", lambda: session.split_object("bottle", [sky], "cap")),
        ("not finished", lambda: session.split_object("cap", [sky], "y")),
        ("no prompt", lambda: session.split_object("bottle", [], "y")),
        ("mark nothing", lambda: session.split_object("bottle", [replace(sky, **words)], "y")),
        ("nothing of 'bottle'", lambda: session.split_object("bottle", [sky], "y")),
        ("all of 'bottle'", lambda: session.split_object("bottle", [all_of_it], "y")),
    ):
        with pytest.raises(SA3DError, match=message):
            call()
    assert same(bits(session), before)
    session.undo()
    assert list(session.result().objects) == ["bottle"]


def test_a_click_beside_the_object_splits_nothing_off(
    bottle: AnalyticScene, in_one: Segmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the segmenter's mask covers parts of the object."""
    session = reopened(bottle, in_one)
    before, cap = bits(session), click(bottle, "cap", 3)
    asked = OracleSegmenter.predict
    monkeypatch.setattr(
        OracleSegmenter, "predict", lambda self, *_, **more: asked(self, cap_px, np.ones(1), **more)
    )
    cap_px = np.array(cap.points, dtype=np.float32)
    with pytest.raises(SA3DError, match="nothing of 'bottle' is at the prompt"):
        session.split_object("bottle", [replace(cap, points=((0, 0),))], "y")
    assert same(bits(session), before)
    session.split_object("bottle", [cap], "y")


@pytest.mark.parametrize("edit", [_merge, _split])
def test_edited_objects_are_saved_and_gone_on_with(
    bottle: AnalyticScene,
    in_parts: Segmentation,
    tmp_path: Path,
    edit: Callable[[Session, AnalyticScene], None],
) -> None:
    session = reopened(bottle, in_parts)
    edit(session, bottle)
    save_segmentation(session.result(), tmp_path / "saved")
    later = reopened(bottle, load_segmentation(tmp_path / "saved").segmentation)
    assert list(later.run()) == []
    for name, one in session.result().objects.items():
        again = later.result().object(name)
        torch.testing.assert_close(again.evidence.object, one.evidence.object, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(again.evidence.total, one.evidence.total, rtol=1e-3, atol=1e-3)
        assert [p.view for p in again.prompts] == [p.view for p in one.prompts]


def test_overlapping_objects_share_no_element_and_no_pixel(
    bottle: AnalyticScene, in_parts: Segmentation, in_one: Segmentation
) -> None:
    """The bottle and its cap as two objects: elements of both go to one of them."""
    cap, whole = in_parts.object("cap"), in_one.object("bottle")
    both = replace(in_one, objects={"cap": cap, "bottle": whole})
    claimed = [one.evidence.labels() for one in (cap, whole)]
    assert (claimed[0] & claimed[1]).any()
    labels = both.labels()
    assert torch.equal(labels >= 0, claimed[0] | claimed[1])
    contested = claimed[0] & claimed[1]
    more = both.probability("cap") > both.probability("bottle")
    assert (labels[contested & more] == 0).all()
    masks = PhotoMasks(bottle.scene, both, ("cap", "bottle"), RefinementConfig())
    for index in range(len(bottle.scene.views)):
        final = final_masks(bottle.scene, both, index)
        for mine, other in ((final["cap"][0], final["bottle"][0]), masks.of_view(index).values()):
            assert not (mine & other).any()
            assert iou(mine | other, parts_of_view(bottle, index)["bottle"]) > 0.8
