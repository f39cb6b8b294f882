"""The panel in ``ns-train sa3d``: its commands run between two steps."""

from pathlib import Path

import numpy as np
import pytest
from studio_driver import a_run, opened_scene

from nerfstudio_plugin.train.steps import SegmentingSteps
from nerfstudio_plugin.viewer.files import Files
from nerfstudio_plugin.viewer.marks import Mark
from nerfstudio_plugin.viewer.studio import Listeners, Studio
from nerfstudio_plugin.viewer.worker import Worker
from sa3d.base.errors import SA3DError
from sa3d.objects.prompts import Prompt
from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter

CLICK = Prompt("frame_00000", "ball", ((26.0, 17.0),), (1,))


@pytest.fixture
def panel(still_life, tmp_path, monkeypatch):
    """Steps of a training that segments the ball, and the studio of its panel."""
    monkeypatch.chdir(tmp_path)
    opened = opened_scene(still_life.scene, GraphCutSegmenter(), a_run(tmp_path))
    steps = SegmentingSteps(opened, [CLICK], lambda _: None)
    notices = []
    listeners = Listeners(lambda: None, lambda *_: None, notices.append)
    studio = Studio(opened, tmp_path / "session", Worker(), listeners)
    steps.attach_panel(studio)
    return steps, studio, notices


def crate_marked(still_life, studio):
    """A click on the crate in the first view, as the pointer gives it."""
    ys, xs = still_life.masks["crate"][0].nonzero()
    middle = len(xs) // 2
    point = tuple(still_life.scene.prepared(0).points_world[ys[middle], xs[middle]].tolist())
    mark = Mark(0, 1, (float(xs[middle]), float(ys[middle])), None, point)
    studio.new_object("crate")
    studio.submit("", lambda: studio._add_mark(mark))
    studio.segment()


def test_the_panel_follows_the_training(panel):
    steps, studio, _ = panel
    seen = []
    for _ in steps.run():
        seen.append(studio.state.last_view)
    assert studio.state.ready
    assert list(studio.state.colors) == ["ball"]
    assert studio.state.prompts["ball"] == ("frame_00000.png: 1 click",)
    assert any("accepted" in outcome for outcome in seen)
    assert studio.state.verdicts["ball"] == studio.opened["ball"].verdict
    assert studio.state.undo == ""  # the trainer's prompts are not the user's to undo


def test_what_the_user_marks_meanwhile_is_segmented_too(panel, still_life):
    steps, studio, notices = panel
    begun = False
    for step in steps.run():
        if "accepted" in step.text and not begun:
            begun = True
            crate_marked(still_life, studio)
            assert "crate" not in studio.opened.objects  # not before the step has ended
    assert begun
    assert [notice for notice in notices if notice.kind == "error"] == []
    result = studio.opened.segmentation
    assert list(result.objects) == ["ball", "crate"]
    for one in result.objects.values():
        assert one.converged or one.rounds, one.name
        assert sum(record.outcome == "accepted" for record in one.views.values()) > 5
    assert not studio.worker.waiting


def test_what_the_user_opens_meanwhile_takes_the_place_of_what_is_trained(panel, still_life):
    steps, studio, notices = panel
    files = Files(studio, studio.state.folder.parent)
    saved = opened_scene(still_life.scene, GraphCutSegmenter(), steps.opened.run)
    saved.segment(mask=still_life.masks["crate"][0], view="frame_00000", name="crate")
    saved.save("kept")
    for step in steps.run():
        if "accepted" in step.text and "crate" not in studio.state.colors:
            files.open(Path("kept"))
    assert [notice for notice in notices if notice.kind == "error"] == []
    assert steps.lifted
    assert list(steps.opened.objects) == ["crate"]
    studio.remove_object("crate")
    studio.worker.run_pending()
    assert not steps.lifted


def test_after_the_training_the_worker_goes_on_alone(panel, still_life):
    steps, studio, _ = panel
    for _ in steps.run():
        pass
    steps.start_panel_worker()
    crate_marked(still_life, studio)
    assert studio.worker.wait(60)
    assert "crate" in studio.session.result().objects


def test_objects_that_fail_are_named_and_the_others_are_trained(still_life, tmp_path):
    seen = np.any([masks[0] for masks in still_life.masks.values()], axis=0)
    sky = Prompt("frame_00000", "sky", mask=~seen)
    opened = opened_scene(still_life.scene, GraphCutSegmenter(), a_run(tmp_path))
    shown = []
    *_, last = SegmentingSteps(opened, [sky, CLICK], shown.append).run()
    assert "failed: sky: the prompt for 'sky' lands on nothing" in last.text
    assert list(opened.objects) == ["ball"]
    assert shown[-1].names == ["ball"]

    alone = opened_scene(still_life.scene, GraphCutSegmenter(), a_run(tmp_path))
    with pytest.raises(SA3DError, match="'sky' lands on nothing"):
        list(SegmentingSteps(alone, [sky], shown.append).run())
