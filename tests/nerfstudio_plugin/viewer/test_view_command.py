"""``sa3d view`` up to where the viewer starts."""

import pytest

from nerfstudio_plugin.cli.view import View


def test_help_says_what_it_is_for_and_who_can_reach_it(command_line):
    out = " ".join(command_line.succeeds("view", "--help").split())
    for words in ("this computer only", "--demo", "--host", "127.0.0.1", "sa3d view --load-config"):
        assert words in out


def test_the_options_in_the_helps_examples_are_there(command_line):
    out = command_line.succeeds("view", "--help")
    head, options = out.split("--help", 1)
    words = {word for word in head.split() if word.startswith("--")}
    assert {"--load-config", "--segmentation", "--segmenter", "--port", "--demo"} <= words
    assert words <= set(options.split())


@pytest.mark.parametrize("given", [(), ("--demo", "room", "--load-config", "config.yml")])
def test_one_scene_has_to_be_named(command_line, given):
    error = command_line.refuses("view", *given)
    assert "name a trained run with --load-config, or a scene with --demo room" in error


def test_unknown_names_are_refused_before_anything_is_opened(command_line):
    run = ("view", "--load-config", "nowhere/config.yml", "--no-open-browser")
    assert "unknown segmenter 'magic'" in command_line.refuses(*run, "--segmenter", "magic")
    assert "unknown detector 'nose'" in command_line.refuses(*run, "--detector", "nose")


def test_a_run_that_is_not_there(command_line_of_runs, tmp_path):
    config = tmp_path / "nowhere/config.yml"
    error = command_line_of_runs.refuses("view", "--load-config", config, "--no-open-browser")
    assert str(config) in error


def test_a_file_that_is_no_run(command_line_of_runs, tmp_path):
    config = tmp_path / "config.yml"
    config.write_text("just: notes")
    error = command_line_of_runs.refuses("view", "--load-config", config, "--no-open-browser")
    assert str(config) in error


def test_it_listens_on_this_computer_by_default():
    command = View()
    assert (command.host, command.port) == ("127.0.0.1", 7007)
