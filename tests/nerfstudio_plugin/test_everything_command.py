"""``sa3d segment --everything``."""

import json


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
