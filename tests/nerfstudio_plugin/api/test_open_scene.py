"""The Python API, on the analytic scene."""

import builtins
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

import sa3d
from nerfstudio_plugin.api import models
from nerfstudio_plugin.exports import export_class, new_export
from sa3d.base.mask_overlap import iou
from sa3d.evaluation.simulated_user import box_of
from sa3d.export.config import MeshConfig, PointCloudConfig
from sa3d.loop.settings import Settings
from sa3d.objects.checkpoint import load_segmentation, save_segmentation
from sa3d.objects.colors import object_color
from sa3d.objects.events import Finished, ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.results.calibration import calibrated_probability
from sa3d.scene.config import PrepareConfig
from sa3d.scene.events import ViewPrepared
from sa3d.testing.analytic_scene import BALL
from sa3d.testing.oracle_detector import OracleDetector

COARSE = Settings(segmenter="graphcut", prepare=PrepareConfig(resolution=40))
VIEW, ON_BALL = "frame_00000", (52, 34)


@pytest.fixture
def scene(command_line, saved_ball):
    """The analytic scene, opened; its cache is there already."""
    return sa3d.open("config.yml", COARSE, cache_dir=saved_ball / "sa3d_cache")


@pytest.fixture
def ball(scene):
    return scene.segment(points=[ON_BALL], view=VIEW, name="ball")


def test_three_lines(command_line, scene):
    obj = scene.segment(points=[ON_BALL], view=VIEW)
    [place] = obj.export("ball.glb", mesh=MeshConfig(faces=2000, texture_size=32))
    centre = trimesh.load_mesh(place).bounds.mean(axis=0)
    x, y, z = 2 * np.array(BALL.center) - [0.1, 0.2, 0.3]  # p = (R q + t) / 2
    np.testing.assert_allclose(centre, [y, -x, z], atol=0.12)
    manifest = json.loads((command_line.folder / "ball.glb.manifest.json").read_text())
    assert (manifest["kind"], manifest["source"]["segmentation"]) == ("mesh", None)


def test_an_object_shows_masks_probability_and_verdict(ball, scene, photographed):
    exact = photographed.masks["ball"]
    masks = ball.masks(refine=False)
    assert list(masks) == scene.views
    assert min(iou(masks[view], exact[i]) for i, view in enumerate(scene.views)) > 0.8
    np.testing.assert_array_equal(ball.mask("frame_00003", refine=False), masks[scene.views[3]])
    probability = ball.probability
    assert probability.shape == (len(scene.scene.elements),)
    assert 0 <= probability.min() < 0.5 < probability.max() <= 1
    assert (probability[ball.segmentation.evidence.total == 0] == 0.5).all()
    assert ball.converged
    assert "converged" in ball.verdict


def test_the_command_gives_the_same(ball, saved_ball):
    saved = load_segmentation(saved_ball / "ball").segmentation
    assert torch.equal(ball.probability, calibrated_probability(saved, "ball"))


def test_next_views_are_ranked(ball, scene):
    ranked = ball.next_views()
    assert len(ranked) == 5
    assert ball.next_views(count=2) == ranked[:2]
    everywhere = ball.next_views(count=None)
    assert sorted(one.view for one in everywhere) == sorted(scene.views)
    assert everywhere[:5] == ranked
    assert all(a.score >= b.score for a, b in itertools.pairwise(everywhere))
    with pytest.raises(sa3d.SA3DError, match="cannot list 0 views"):
        ball.next_views(count=0)


def test_progress_gets_every_event(command_line):
    events = []
    scene = sa3d.open("config.yml", COARSE)
    scene.segment(points=[ON_BALL], view=VIEW, progress=events.append)
    assert sum(isinstance(event, ViewPrepared) for event in events) == 12
    assert isinstance(events[-1], Finished)


def test_finish_after_an_interruption(scene, saved_ball):
    def stop(event):
        if isinstance(event, ViewDone) and event.round == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scene.segment(points=[ON_BALL], view=VIEW, name="ball", progress=stop)
    ball = scene["ball"]
    assert ball.verdict == "stopped before the end"
    scene.finish()
    saved = load_segmentation(saved_ball / "ball").segmentation
    assert torch.equal(ball.probability, calibrated_probability(saved, "ball"))


def test_default_names_are_free_names(scene, photographed):
    first = scene.segment(points=[ON_BALL], view=VIEW)
    second = scene.segment(view=VIEW, box=box_of(photographed.masks["crate"][0]))
    assert [first.name, second.name] == list(scene.objects) == ["object", "object_2"]
    with pytest.raises(sa3d.SA3DError, match="'object_2' here already: correct it"):
        scene.segment(points=[ON_BALL], view=VIEW, name="object_2")
    assert not (first.mask(VIEW) & second.mask(VIEW)).any()
    scene.remove("object")
    with pytest.raises(sa3d.SA3DError, match="no object 'object' here"):
        first.verdict  # noqa: B018
    scene.undo()
    assert first.verdict == scene["object"].verdict


def test_correct_undo_redo(ball, scene):
    before = ball.probability
    ball.correct("frame_00003", points=[(5, 5)], labels=[0])
    after = ball.probability
    assert len(ball.segmentation.prompts) == 2
    assert scene.undo()
    assert torch.equal(ball.probability, before)
    assert scene.redo()
    assert torch.equal(ball.probability, after)


def test_everything_is_one_step(ball, scene):
    found = scene.segment_everything()
    assert list(scene.objects) == ["ball", *found]
    probabilities = {name: one.probability for name, one in scene.objects.items()}
    assert scene.undo()
    assert list(scene.objects) == ["ball"]
    assert scene.redo()
    assert list(scene.objects) == ["ball", *found]
    for name, one in scene.objects.items():
        assert torch.equal(one.probability, probabilities[name])
    assert scene.undo()
    assert scene.undo()
    assert not scene.objects


def test_rename_recolor_merge_split(ball, scene, photographed):
    crate = scene.segment(view="frame_00003", points=[(62, 36)], name="crate")
    assert [ball.color, crate.color] == [object_color(0), object_color(1)]
    orb = ball.rename("orb")
    assert list(scene.objects) == ["orb", "crate"]
    with pytest.raises(sa3d.SA3DError, match="no object 'ball'"):
        ball.verdict  # noqa: B018
    orb.recolor("#010203")
    assert orb.color == (1, 2, 3)
    alone = orb.probability
    both = scene.merge(["orb", "crate"], "both")
    assert both.color == (1, 2, 3)
    assert list(scene.objects) == ["both"]
    part = both.split("lid", "frame_00003", mask=photographed.masks["crate"][3])
    assert [*scene.objects] == ["both", "lid"]
    assert part.color == object_color(0)
    assert iou(part.mask("frame_00000", refine=False), photographed.masks["crate"][0]) > 0.6
    for _ in range(3):
        assert scene.undo()
    assert torch.equal(orb.probability, alone)
    assert orb.color == object_color(0)
    with pytest.raises(sa3d.SA3DError, match="fewer than two objects"):
        scene.merge(["orb"], "both")
    with pytest.raises(sa3d.SA3DError, match="invalid color"):
        orb.recolor("reddish")
    assert list(scene.objects) == ["orb", "crate"]


def test_invalid_values_are_refused_in_plain_words(ball, scene, command_line):
    with pytest.raises(sa3d.SA3DError, match="no device 'gpu': give auto, cpu or cuda"):
        sa3d.open("config.yml", COARSE, device="gpu")
    with pytest.raises(sa3d.SA3DError, match="invalid object name 5"):
        scene.segment(points=[ON_BALL], view=VIEW, name=5)
    with pytest.raises(sa3d.SA3DError, match="invalid object name 5"):
        ball.rename(5)
    scene.save("saved")
    ball.export("ball.json")
    for again in (lambda: scene.save("saved"), lambda: ball.export("ball.json")):
        with pytest.raises(sa3d.SA3DError, match="overwrite=True"):
            again()
    ball.export("ball.json", overwrite=True)
    with pytest.raises(sa3d.SA3DError, match="no device 'gpu'"):
        sa3d.load("saved", device="gpu")


def test_refused_prompts_change_nothing(ball, scene):
    refused = [
        ({"points": [(1, 1)]}, "'view' is missing: name the view"),
        ({"view": VIEW}, "no prompt given"),
        ({"view": VIEW, "points": [(500, 1)]}, "outside the image"),
        ({"view": "nowhere", "points": [(1, 1)]}, "no view is called"),
        ({"view": VIEW, "points": [(1, 1)], "labels": [0]}, "background points only"),
        (
            {"view": VIEW, "points": ON_BALL},
            r"must be \[\(x, y\), \.\.\.\], not \(52, 34\)",
        ),
        ({"view": VIEW, "points": [(1, 1), (2,)]}, "'points' must be"),
        ({"view": VIEW, "points": [("a", 1)]}, "'points' must be"),
        (
            {"view": VIEW, "points": [ON_BALL], "labels": 1},
            r"'labels' must be \[1, 0",
        ),
        ({"view": VIEW, "points": [ON_BALL], "labels": [0.5]}, "labels must be 1"),
        ({"view": VIEW, "box": (1, 2, 3)}, r"'box' must be \(x0, y0, x1, y1\)"),
        ({"view": VIEW, "mask": np.ones((72, 96, 3))}, r"shape \(72, 96, 3\): give one value per"),
        ({"view": 0, "points": [ON_BALL]}, "'view' must be the name of a view, not 0"),
    ]
    for marked, words in refused:
        with pytest.raises(sa3d.SA3DError, match=words):
            scene.segment(**marked)
    with pytest.raises(sa3d.SA3DError, match="no object 'bell'"):
        scene["bell"]
    assert list(scene.objects) == ["ball"]


def test_a_failed_step_is_not_redone(ball, scene, monkeypatch):
    def finds_nothing(*_, **__):
        raise sa3d.SA3DError("nothing here")

    with monkeypatch.context() as patch:
        patch.setattr("sa3d.loop.object_loop.segment_user_prompts", finds_nothing)
        with pytest.raises(sa3d.SA3DError, match="nothing here"):
            scene.segment(view=VIEW, points=[(5, 5)], name="air")
    assert list(scene.objects) == ["ball"]
    assert not scene.redo()
    assert scene.undo()
    assert list(scene.objects) == []


def test_arrays_are_taken_like_tuples():
    def marked(**given):
        return Prompt.from_keywords(VIEW, "it", **given)

    clicked = marked(points=np.array([ON_BALL]), labels=np.array([False]))
    assert (clicked.points, clicked.labels) == (((52.0, 34.0),), (0,))
    assert marked(box=np.array([1, 2, 3, 4])).box == (1.0, 2.0, 3.0, 4.0)
    np.testing.assert_array_equal(marked(mask=[[0, 1]]).mask, [[0, 1]])


def test_prompts_of_several_views_are_one_object(scene):
    other = Prompt("frame_00006", "whatever", box=(30, 20, 60, 50))
    ball = scene.segment(view=VIEW, points=[ON_BALL], prompts=[other], name="ball")
    assert [(p.view, p.object) for p in ball.segmentation.prompts] == [
        ("frame_00000.png", "ball"),
        ("frame_00006.png", "ball"),
    ]


def test_saved_and_loaded_is_the_same(ball, scene, command_line):
    report = scene.save("kept")
    assert [one["name"] for one in report["objects"]] == ["ball"]
    again = sa3d.load("kept")
    assert again.settings == scene.settings
    assert torch.equal(again["ball"].probability, ball.probability)
    np.testing.assert_array_equal(again["ball"].mask(VIEW), ball.mask(VIEW))
    again["ball"].correct("frame_00003", points=[(5, 5)], labels=[0])
    with pytest.raises(sa3d.SA3DError, match="kept exists"):
        again.save("kept")
    again.save("kept", overwrite=True)
    assert len(sa3d.load("kept")["ball"].segmentation.prompts) == 2


def test_a_view_with_an_empty_mask_can_be_corrected_beside(scene, ball, command_line):
    """A split may leave such a view: all of the object's mask there became the part's."""
    scene.save("kept")
    saved = load_segmentation(command_line.folder / "kept")
    views = saved.segmentation.objects["ball"].views
    index = next(i for i, record in views.items() if record.outcome == "accepted")
    views[index] = replace(views[index], mask=np.zeros_like(views[index].mask))
    save_segmentation(
        saved.segmentation, command_line.folder / "kept", saved.provenance, overwrite=True
    )
    again = sa3d.load("kept")["ball"].correct("frame_00003", points=[(5, 5)], labels=[0])
    assert "corrected" in again.verdict


def test_kinds_by_suffix_or_by_name(ball, scene, command_line):
    few = PointCloudConfig(count=200)
    assert len(ball.export("cloud.npz", pointcloud=few)) == 1
    ball.export("cloud.ply", "pointcloud", pointcloud=few, frame="nerfstudio")
    loaded = trimesh.load(command_line.folder / "cloud.ply")
    assert len(loaded.vertices) == 200
    np.testing.assert_allclose(loaded.bounds.mean(axis=0), BALL.center, atol=0.08)
    assert [path.name for path in ball.export("masks")] == ["ball"]
    assert len(list((command_line.folder / "masks/ball").glob("*.png"))) == 12
    scene.export("box.json")
    box = json.loads((command_line.folder / "box.json").read_text())
    assert [one["name"] for one in box["objects"]] == ["ball"]
    with pytest.raises(sa3d.SA3DError, match=r"box\.json exists"):
        scene.export("box.json")


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("a.GLB", "mesh"),
        ("a.ply", "mesh"),
        ("a.pcd", "pointcloud"),
        ("a.json", "box"),
        ("a", "masks"),
    ],
)
def test_suffixes_suggest_kinds(output, kind, tmp_path):
    assert export_class(None, tmp_path / output).kind == kind


def test_invalid_export_options(tmp_path):
    with pytest.raises(sa3d.SA3DError, match="frame='world' is not allowed: use one of original"):
        new_export(None, tmp_path / "a.glb", frame="world")
    with pytest.raises(sa3d.SA3DError, match="mesh has no option 'faces': use overwrite, "):
        new_export(None, tmp_path / "a.glb", faces=100)


def test_unknown_kinds_and_suffixes(tmp_path):
    with pytest.raises(sa3d.SA3DError, match=r"no kind of export for 'a\.jpg': name a kind"):
        export_class(None, tmp_path / "a.jpg")
    with pytest.raises(sa3d.SA3DError, match="unknown kind of export 'splat'"):
        export_class("splat", tmp_path / "a.ply")


def test_own_segmenter(command_line, saved_ball):
    from sa3d.segmenters.loading import load_segmenter

    own = load_segmenter("graphcut")
    automatic = Settings(prepare=COARSE.prepare)
    scene = sa3d.open("config.yml", automatic, segmenter=own, cache_dir=saved_ball / "sa3d_cache")
    assert scene.segmenter is own
    assert scene.settings.segmenter == own.name
    named = sa3d.open("config.yml", automatic, segmenter="graphcut", device="cpu")
    with pytest.raises(sa3d.SA3DError, match="unknown segmenter 'scissors'"):
        sa3d.open("config.yml", automatic, segmenter="scissors")
    assert named.settings.segmenter == "graphcut"


def test_a_star_import_leaves_builtins_alone():
    names: dict = {}
    exec("from sa3d import *", names)
    assert names["OpenScene"] is sa3d.OpenScene
    assert not set(vars(builtins)) & set(sa3d.__all__)
    assert "open" not in names


def test_a_detector_is_chosen_and_kept(scene, photographed, command_line, saved_ball, monkeypatch):
    detector, loaded = oracle_detector(photographed), []

    def load(name, device):
        loaded.append(name)
        return detector

    monkeypatch.setattr(models, "load_detector", load)
    scene.segment(text="ball")
    scene.segment(text="crate")
    assert loaded == ["auto"]
    scene.segment(text="ball", name="again", detector="owlv2-base")
    assert loaded == ["auto", "owlv2-base"]
    cache = saved_ball / "sa3d_cache"
    own = sa3d.open("config.yml", COARSE, detector=detector, cache_dir=cache)
    own.segment(text="ball")
    named = sa3d.open("config.yml", COARSE, detector="owlv2-base", cache_dir=cache)
    named.segment(text="ball")
    assert loaded == ["auto", "owlv2-base", "owlv2-base"]
    with pytest.raises(sa3d.SA3DError, match="unknown detector 'magnet'"):
        sa3d.open("config.yml", COARSE, detector="magnet")


def test_unknown_keywords_are_errors(scene, ball):
    for call in (
        lambda: scene.segment(VIEW, pints=[ON_BALL]),
        lambda: ball.correct(VIEW, points=[ON_BALL], colour=1),
        lambda: ball.split("part", VIEW, points=[ON_BALL], view_name="x"),
    ):
        with pytest.raises(TypeError, match="no keyword"):
            call()


def oracle_detector(photographed):
    views = photographed.scene.views
    return OracleDetector(
        {view.name: view.image() for view in views},
        {
            view.name: {name: stack[i] for name, stack in photographed.masks.items()}
            for i, view in enumerate(views)
        },
    )


def test_words_find_an_object(scene, photographed, monkeypatch):
    detector = oracle_detector(photographed)
    monkeypatch.setattr(models, "load_detector", lambda *_: detector)
    ball = scene.segment(text="ball", name="ball")
    assert iou(ball.mask(VIEW, refine=False), photographed.masks["ball"][0]) > 0.8
    assert ball.segmentation.prompts[0].text == "ball"


def test_public_names():
    assert set(dir(sa3d)) == {*sa3d.__all__, "open"}
    assert all(getattr(sa3d, name).__doc__ for name in dir(sa3d))
    wanted = "open load OpenScene SegmentedObject Prompt Scene Session Segmentation Camera View"
    wanted += " Settings RadianceField PromptableSegmenter SA3DError"
    assert set(wanted.split()) <= set(dir(sa3d))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sa3d.nothing  # noqa: B018


def sky(photographed):
    """A prompt in the sky: that nothing is there shows only when it is segmented."""
    seen = np.any([masks[0] for masks in photographed.masks.values()], axis=0)
    return Prompt(VIEW, "sky", mask=~seen)


def test_objects_stand_alone(scene, photographed, monkeypatch):
    monkeypatch.setattr(models, "load_detector", lambda *_: oracle_detector(photographed))
    prompts = [
        sky(photographed),
        Prompt("", "unicorn", text="unicorn"),
        Prompt(VIEW, "ball", points=(ON_BALL,)),
    ]
    choices, failed = scene.segment_apart(prompts)
    assert choices == []
    assert list(scene.objects) == ["ball"]
    assert set(failed) == {"sky", "unicorn"}
    assert "'sky' lands on nothing" in failed["sky"]
    assert "finds no 'unicorn'" in failed["unicorn"]
    assert scene.undo()
    assert not scene.objects

    unknown = Prompt("nowhere", "crate", points=(ON_BALL,))
    with pytest.raises(sa3d.SA3DError, match="no view is called 'nowhere'"):
        scene.segment_apart([*prompts, unknown])
    assert not scene.objects  # known before any work: nothing is segmented


def test_what_failed_is_not_an_action_and_what_was_kept_is(ball, scene, photographed):
    with pytest.raises(sa3d.SA3DError, match="lands on nothing"):
        scene.segment_prompts([sky(photographed)])
    assert not scene.redo()
    mug = Prompt(VIEW, "again", points=(ON_BALL,))
    with pytest.raises(sa3d.SA3DError, match="the other objects are kept: again"):
        scene.segment_prompts([sky(photographed), mug])
    assert list(scene.objects) == ["ball", "again"]
    assert scene.undo()
    assert list(scene.objects) == ["ball"]
    assert scene.undo()
    assert not scene.objects
