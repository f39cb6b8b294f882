"""Sessions saved and opened in the panel, and exports equal to the command line's."""

import json
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trimesh
from studio_driver import StudioDriver, assert_same, middle_of, oracle_of

import sa3d
from nerfstudio_plugin.cli import main
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.viewer.files import Files, equal_command
from sa3d.loop.settings import settings_from_dict
from sa3d.objects.checkpoint import load_segmentation


@dataclass
class Panel:
    driver: StudioDriver
    files: Files

    def opens(self, folder):
        self.files.open(folder)
        assert self.driver.work() == []

    def export(self, kind, output, *, every_object=False, overwrite=False, deliver=None):
        self.files.export(
            kind, Path(output), every_object=every_object, overwrite=overwrite, deliver=deliver
        )
        return self.driver.work()


@pytest.fixture
def new_panel(command_line, ball, photographed):
    """Makes a panel on the analytic scene, as it was prepared for the ball's segmentation."""
    settings = _settings(ball)

    def make():
        opened = sa3d.open("config.yml", settings)
        folder = Path("segmentations/viewer")
        driver = StudioDriver(opened.scene, oracle_of(photographed), folder, run=opened.run)
        return Panel(driver, Files(driver.studio, Path()))

    return make


@pytest.fixture
def panel(new_panel, ball):
    """The ball, opened from its folder."""
    panel = new_panel()
    panel.opens(ball)
    return panel


def test_what_the_command_line_segmented_is_opened(panel, ball):
    state = panel.driver.state
    assert list(state.verdicts) == ["ball"]
    assert state.draft.selected == "ball"
    assert state.saved
    assert state.folder == ball
    result, saved = panel.driver.studio.session.result(), load_segmentation(ball).segmentation
    assert result.labels().equal(saved.labels())
    for view, record in saved.object("ball").views.items():
        assert np.array_equal(result.object("ball").views[view].mask, record.mask)
    panel.driver.studio.undo()
    panel.driver.work()
    assert panel.driver.state.verdicts == {}
    panel.driver.studio.redo()
    panel.driver.work()
    assert list(panel.driver.state.verdicts) == ["ball"]


def test_everything_comes_back(panel, new_panel, photographed, tmp_path):
    driver, studio = panel.driver, panel.driver.studio
    studio.set_color("ball", (1, 2, 3))
    studio.new_object("crate")
    studio.select("ball")
    studio.set_display(Display(mode="outline", threshold=0.7), False)
    driver.work()
    assert not driver.state.saved
    panel.files.save(tmp_path / "kept")
    (notice,) = driver.work()
    assert notice.title == "Saved"
    assert driver.state.saved
    assert driver.state.folder == tmp_path / "kept"
    again = new_panel()
    again.opens(tmp_path / "kept")
    assert_same(again.driver.studio.session.result(), studio.session.result())
    assert again.driver.state.draft == driver.state.draft
    assert again.driver.state.colors == driver.state.colors
    assert again.driver.state.display == driver.state.display
    assert again.driver.shown[-1][1] == driver.shown[-1][1]
    middle = middle_of(photographed.masks["ball"][6])
    for one in (driver, again.driver):  # and both go on alike
        one.click(6, middle)
        assert [notice.kind for notice in one.segment()] == ["done"]
    assert_same(again.driver.studio.session.result(), studio.session.result())


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ([], "must be an object"),
        ({"empty": []}, "empty must be an object"),
        ({"empty": {"../up": [1, 2, 3]}}, "invalid object name '../up'"),
        ({"empty": {"ball": [1, 2, 3]}}, "there is an object 'ball' already"),
        ({"empty": {"cup": [1, 2]}}, "empty.cup must be a list of 3"),
        ({"empty": {"cup": [1, 2, 999]}}, "must be between 0 and 255"),
        ({"selected": 5}, "selected must be"),
        ({"display": {"mode": "outline"}}, "display.objects is missing"),
        ({"display": {"mode": "x", "objects": [], "threshold": 0.5}}, "display.mode must be one"),
        ({"display": {"mode": "outline", "objects": [], "threshold": 9}}, "threshold must be"),
    ],
)
def test_damaged_notes_are_one_clear_message(new_panel, ball, notes, words):
    manifest = ball / "segmentation.json"
    content = json.loads(manifest.read_text())
    content["provenance"]["desk"] = notes
    manifest.write_text(json.dumps(content))
    panel = new_panel()
    panel.files.open(ball)
    (notice,) = panel.driver.work()
    assert words in str(notice).replace("\\", "")
    assert panel.driver.state.verdicts == {}


def test_what_was_renamed_in_a_terminal_meanwhile_is_opened(panel, new_panel, ball, capsys):
    panel.files.save(ball)
    panel.driver.work()
    assert main(["objects", "rename", "ball", "orb", "--segmentation", str(ball)]) == 0, capsys
    again = new_panel()
    again.opens(ball)
    assert again.driver.state.draft.selected == "orb"


def test_opening_clears_marks_and_preview(panel, ball, photographed):
    driver = panel.driver
    driver.click(6, middle_of(photographed.masks["ball"][6]))
    assert driver.state.preview is not None
    panel.opens(ball)
    assert (driver.state.preview, driver.state.draft.marks) == (None, ())
    shown, _ = driver.shown[-1]
    assert shown.blocks["ball"] == "built"  # what is cut out is there at once


def test_other_folders_are_neither_opened_nor_replaced(panel, tmp_path):
    panel.files.open(tmp_path / "nothing")
    assert "nothing" in panel.driver.fails()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    panel.files.save(mine)
    assert "mine" in panel.driver.fails()
    assert (mine / "letter.txt").read_text() == "dear"
    assert list(panel.driver.state.verdicts) == ["ball"]


def test_after_undoing_an_opening_the_opened_folder_is_not_written_to(panel, ball):
    panel.driver.studio.undo()
    panel.driver.work()
    assert panel.driver.state.folder == Path("segmentations/viewer")


def test_a_session_of_another_scene_is_refused(ball, still_life, tmp_path):
    other = StudioDriver(still_life.scene, oracle_of(still_life), tmp_path / "other")
    Files(other.studio, Path()).open(ball)
    assert "another scene" in other.fails()
    assert other.state.verdicts == {}


def _settings(folder):
    return settings_from_dict(load_segmentation(folder).provenance["settings"], "notes")


@pytest.mark.parametrize(
    ("kind", "output"), [("mesh", "ball.glb"), ("pointcloud", "ball.ply"), ("masks", "ball_masks")]
)
def test_an_export_is_the_one_of_the_command_line(panel, kind, output, capsys):
    (notice,) = panel.export(kind, output)
    assert notice.title == f"{kind} exported"
    mine = Path("mine") / output
    mine.parent.mkdir()
    Path(output).rename(mine)
    words = shlex.split(panel.driver.state.command)
    assert words[0] == "sa3d"
    assert main(words[1:]) == 0, capsys.readouterr().err
    if kind == "masks":
        files = sorted(path.relative_to(output) for path in Path(output).rglob("*.png"))
        assert len(files) == 12
        for file in files:
            assert (output / file).read_bytes() == (mine / file).read_bytes()
    elif kind == "mesh":
        one, other = (trimesh.load(place, force="mesh") for place in (mine, output))
        np.testing.assert_array_equal(one.vertices, other.vertices)
        np.testing.assert_array_equal(one.faces, other.faces)
    else:
        assert mine.read_bytes() == Path(output).read_bytes()


def test_what_exists_is_replaced_only_on_request(panel):
    Path("ball.ply").write_bytes(b"mine")
    (notice,) = panel.export("pointcloud", "ball.ply")
    assert (notice.kind, notice.text) == (
        "error",
        f"{Path('ball.ply').resolve()} exists: give another name, or set overwrite=True to replace "
        "it.",
    )
    assert Path("ball.ply").read_bytes() == b"mine"
    assert panel.driver.state.command == ""
    (notice,) = panel.export("pointcloud", "ball.ply", overwrite=True)
    assert notice.kind == "done"
    assert panel.driver.state.command.endswith("--overwrite")
    assert Path("ball.ply").read_bytes()[:3] == b"ply"


def test_a_download_is_a_file_or_a_zipped_folder(panel):
    got = {}

    def deliver(file: Path) -> None:
        got[file.name] = zipfile.ZipFile(file).namelist() if file.suffix == ".zip" else []

    panel.export("masks", "out/ball_masks", every_object=True, deliver=deliver)
    panel.export("pointcloud", "ball.ply", deliver=deliver)
    assert list(got) == ["ball_masks.zip", "ball.ply"]
    assert "ball/frame_00000.png" in got["ball_masks.zip"]


def test_nothing_to_export(new_panel, panel):
    empty = new_panel()
    (notice,) = empty.export("mesh", "x.glb")
    assert (notice.kind, notice.text) == ("error", "Object 'object' is not segmented yet.")
    (notice,) = empty.export("mesh", "x.glb", every_object=True)
    assert notice.text == "No object is segmented yet."
    empty.files.save(Path("x"))
    assert "Nothing is segmented yet" in empty.driver.fails()
    panel.driver.studio.new_object("mug")
    (notice,) = panel.export("mesh", "x.glb")
    assert notice.text == "Object 'mug' is not segmented yet."
    assert not Path("x.glb").exists()


def test_odd_names_are_quoted():
    command = equal_command("mesh", Path("a b"), Path("c;d.glb"), ("x y", "z"), overwrite=True)
    assert command == (
        "sa3d export mesh --segmentation 'a b' --objects 'x y' z --output 'c;d.glb' --overwrite"
    )


# What a page may reach.


@pytest.mark.parametrize(
    "typed", ["/etc/out", "../out", "a/../../out", "link/out", "~root/out", "\0"]
)
def test_files_outside_the_folder_are_refused(panel, tmp_path, typed):
    (Path() / "link").symlink_to(tmp_path.parent)
    panel.driver.studio.undo()  # nothing below depends on what is there
    panel.driver.work()
    for act in (panel.files.save, panel.files.open):
        act(typed)
        assert "outside" in (text := panel.driver.fails()) or "not a path" in text
    panel.files.export("mesh", typed, every_object=True, overwrite=True)
    assert panel.driver.fails()
    assert not list(tmp_path.parent.glob("out*"))


def test_the_sessions_own_folder_may_lie_elsewhere(panel, tmp_path, ball):
    outside = tmp_path / "mine"
    panel.driver.studio.record_saved(outside)
    files = Files(panel.driver.studio, Path("exports"))
    assert files.place(outside) == outside.resolve()
    assert files.place(files.shown(outside)) == outside.resolve()
    assert files.shown(files.output_dir / "a/b") == "a/b"
    files.save(outside)
    assert panel.driver.work()[0].title == "Saved"
    assert (outside / "segmentation.json").is_file()


def test_what_is_opened_goes_on_with_the_settings_it_was_made_with(
    command_line, photographed, tmp_path
):
    loop = ("--loop.reach", "0.3", "--loop.convergence.max-rounds", "1", "--loop.prior", "0.35")
    command_line.succeeds(*command_line.segment_ball("kept", *loop))
    made = _settings(Path("kept"))
    opened = sa3d.open("config.yml", settings_from_dict({"prepare": {"resolution": 40}}, "a test"))
    assert opened.settings.loop != made.loop
    driver = StudioDriver(opened.scene, oracle_of(photographed), Path("viewer"), run=opened.run)
    panel = Panel(driver, Files(driver.studio, Path()))
    panel.opens(Path("kept"))
    assert driver.studio.opened.settings == made
    assert driver.studio.session.config == made.loop
    before = load_segmentation(Path("kept")).segmentation
    panel.files.save("again")
    assert driver.work()[0].title == "Saved"
    assert_same(load_segmentation(Path("again")).segmentation, before)
    assert _settings(Path("again")) == made
    driver.studio.undo()  # the session that was there before has its own settings again
    driver.work()
    assert driver.studio.opened.settings.loop != made.loop


def test_what_does_not_say_its_settings_is_refused(panel, ball):
    content = json.loads((ball / "segmentation.json").read_text())
    del content["provenance"]["settings"]
    (ball / "segmentation.json").write_text(json.dumps(content))
    panel.files.open(ball)
    assert "does not say with which settings" in panel.driver.fails()


def test_a_segmentation_that_another_program_changed_is_not_overwritten(panel, ball):
    panel.files.save(ball)
    panel.driver.work()
    main(["objects", "color", "ball", "#010203", "--segmentation", str(ball)])
    panel.files.save(ball)
    assert "changed since by another program" in panel.driver.fails()
    assert load_segmentation(ball).segmentation.colors["ball"] == (1, 2, 3)


def test_the_folder_of_a_session_is_found_from_any_working_directory(panel, ball, tmp_path):
    """The panel's own folder is absolute: it is not joined to itself."""
    files = Files(panel.driver.studio, Path("below"))
    panel.driver.studio.record_saved((Path("below") / "viewer").resolve())
    folder = panel.driver.state.folder
    assert files.place(folder) == folder == files.place(files.shown(folder))
