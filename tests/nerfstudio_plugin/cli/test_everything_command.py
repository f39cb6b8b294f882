"""``sa3d segment --everything``."""

import json

from sa3d.loop.object_loop import ObjectLoop


def test_prompts_and_everything_exclude_each_other(command_line):
    line = command_line.refuses(*command_line.segment_ball("all", "--everything"))
    assert "--everything takes no prompts" in line


def test_everything_writes_a_segmentation_to_export_from(command_line):
    out = command_line.succeeds(*command_line.segment("all", "--everything"))
    folder = command_line.folder / "all"
    rows = json.loads((folder / "results.json").read_text())["found"]
    chosen, header, *lines = out.splitlines()
    assert chosen.startswith("segmenter: graphcut")
    assert header.split() == ["object", "views", "size", "agreement", "elements"]
    names = [row["name"] for row in rows]
    assert [line.split()[0] for line in lines[: len(rows)]] == names
    assert (folder / "overlay.png").is_file()
    command_line.succeeds("export", "masks", "--segmentation", folder, "--output", "masks")
    assert {
        path.name for path in (command_line.folder / "masks").iterdir() if path.is_dir()
    } == set(names)


def test_ctrl_c_keeps_the_objects_that_were_finished(command_line, monkeypatch):
    finish, finished = ObjectLoop.finish, []

    def stop_at_the_second(self, *arguments):
        if finished:
            raise KeyboardInterrupt
        finished.append(self.name)
        return finish(self, *arguments)

    monkeypatch.setattr(ObjectLoop, "finish", stop_at_the_second)
    code, _, err = command_line.run(*command_line.segment("all", "--everything"))
    assert code == 130
    assert err.strip().splitlines()[-1] == "stopped; what was finished is kept"
    saved = json.loads((command_line.folder / "all/segmentation.json").read_text())
    assert len(saved["objects"]) == 1


def test_thresholds_of_found_objects_can_be_set(command_line):
    strict = ("--everything", "--find.min-agreement", "0.999")
    code, _, err = command_line.run(*command_line.segment("all", *strict))
    assert code == 2
    assert "do not agree" in err.strip().splitlines()[-1]
