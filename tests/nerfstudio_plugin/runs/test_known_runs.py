"""A folder from a stranger may not choose the run that is opened."""

import json

import pytest

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
