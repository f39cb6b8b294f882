"""A folder from a stranger may not choose the run that is opened."""

import json
import sys

import pytest

import sa3d
from nerfstudio_plugin.cli import terminal
from nerfstudio_plugin.runs.known_runs import UnknownRunError, check_known, remember_run


@pytest.fixture(autouse=True)
def own_list(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run/config.yml"
    path.parent.mkdir()
    path.write_text("one")
    return path


def is_known(path):
    try:
        check_known(path, path.parent)
    except UnknownRunError:
        return False
    return True


def test_a_run_is_known_once_it_was_opened(config, monkeypatch):
    assert not is_known(config)
    remember_run(config)
    assert is_known(config)
    assert is_known(config.parent)  # the folder stands for its config.yml
    monkeypatch.chdir(config.parent)
    assert is_known(config.relative_to(config.parent))
    link = config.with_name("link.yml")
    link.symlink_to(config)
    assert is_known(link)


def test_another_config_at_the_same_place_is_not_known(config):
    remember_run(config)
    config.write_text("two")
    assert not is_known(config)
    remember_run(config)
    assert is_known(config)


def test_a_damaged_list_knows_nothing_and_is_written_anew(config, tmp_path):
    remember_run(config)
    path = tmp_path / "state/sa3d/runs.json"
    for text in ("[]", '{"runs": 3}', "{", ""):
        path.write_text(text)
        assert not is_known(config)
    remember_run(config)
    assert is_known(config)


def test_a_list_that_cannot_be_written_is_no_error(config, tmp_path):
    (tmp_path / "state").write_text("a file")
    remember_run(config)
    assert not is_known(config)


def test_a_folder_from_elsewhere_needs_a_yes(command_line, ball, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "nobody"))
    export = ("export", "masks", "--segmentation", ball, "--output", "masks")
    report = ("report", "--segmentation", ball, "--output", "ball.html", "--no-turntable")
    for command in (export, report):
        line = command_line.refuses(*command)
        assert "was not opened on this computer before" in line
        assert "--load-config" in line
    questions = []
    monkeypatch.setattr(terminal, "confirmed", lambda text: questions.append(text) or False)
    command_line.refuses(*export)
    assert "Open it?" in questions[0]
    assert not (command_line.folder / "masks").exists()
    monkeypatch.setattr(terminal, "confirmed", lambda _: True)
    command_line.succeeds(*export)


def test_naming_the_run_is_a_yes_for_later_commands(command_line, ball, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "nobody"))
    export = ("export", "masks", "--segmentation", ball, "--output", "masks", "--overwrite")
    run = json.loads((ball / "segmentation.json").read_text())["provenance"]["load_config"]
    command_line.succeeds(*export, "--load-config", run)
    command_line.succeeds(*export)


def test_a_cache_folder_that_a_stranger_chose_is_not_written(command_line, ball, tmp_path):
    manifest = ball / "segmentation.json"
    content = json.loads(manifest.read_text())
    content["provenance"]["cache_dir"] = str(tmp_path / "chosen")
    content.pop("checksum", None)
    manifest.write_text(json.dumps(content))
    run = ("--load-config", content["provenance"]["load_config"])
    command_line.succeeds("export", "masks", "--segmentation", ball, "--output", "masks", *run)
    assert not (tmp_path / "chosen").exists()


def edit_provenance(folder, **changes):
    manifest = folder / "segmentation.json"
    content = json.loads(manifest.read_text())
    content["provenance"].update(changes)
    content.pop("checksum", None)
    manifest.write_text(json.dumps(content))


def test_a_folder_of_runs_named_by_a_stranger_is_not_searched_for_one_to_open(
    command_line, ball, tmp_path
):
    hidden = tmp_path / "theirs/nerfacto/run/config.yml"
    hidden.parent.mkdir(parents=True)
    hidden.write_text("another run")
    edit_provenance(ball, load_config=str(tmp_path / "theirs"))
    line = command_line.refuses("export", "masks", "--segmentation", ball, "--output", "masks")
    assert str(hidden) in line
    assert "was not opened on this computer before" in line


def test_a_segmentation_opens_the_checkpoint_it_was_made_with(command_line, ball, monkeypatch):
    steps = []

    def open_run(load_config, *, data=None, device="auto", step=None, fields=None):
        steps.append(step)
        return command_line.open_run(load_config, data=data, device=device)

    monkeypatch.setattr(sys.modules["nerfstudio_plugin.runs.opening"], "open_run", open_run)
    config = command_line.folder / "config.yml"
    run = sa3d.load(ball, load_config=config).run
    folder = run.load_config.parent / "nerfstudio_models"
    folder.mkdir()
    (folder / run.checkpoint_path.name).write_bytes(b"weights")
    sa3d.load(ball, load_config=config)
    assert steps == [None, 2], "a checkpoint that is gone leaves the latest one"


def test_the_step_of_the_command_line(command_line, monkeypatch):
    steps = []

    def open_run(load_config, *, data=None, device="auto", step=None, fields=None):
        steps.append(step)
        return command_line.open_run(load_config, data=data, device=device)

    monkeypatch.setattr(sys.modules["nerfstudio_plugin.runs.opening"], "open_run", open_run)
    (command_line.folder / "config.yml").write_text("a run")
    command_line.succeeds("prepare", "--load-config", command_line.folder, "--load-step", "4")
    assert steps == [4]
