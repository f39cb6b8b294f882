"""Kills and full disks at random changes to the disk, in commands that write."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from failing_disk import failing_disk, in_a_child
from fuzz_tally import Outcome
from workplace import Workplace, hash_of, pictures_hash, segmentation_hash

RUN = ("--load-config", "config.yml")
HELD = ("--segmentation", "ball", *RUN)
CLICK = ("--view", "frame_00003", "--points", "50,30")
CHANGES = 80
"""About as many changes to the disk are made by the longest of the commands."""


def renamed(place: Path) -> str:
    return segmentation_hash(place / "ball")


def exported(place: Path) -> str:
    return pictures_hash(place / "masks")


def model(place: Path) -> str:
    files = [one for one in place.glob("mesh.*") if one.suffix != ".json"]
    return hash_of(files, place) + str((place / "mesh.obj.manifest.json").is_file())


COMMANDS = {
    "rename": (("objects", "rename", "ball", "mug", *HELD), renamed),
    "correct": (("correct", *HELD, *CLICK), renamed),
    "masks": (("export", "masks", *HELD, "--output", "masks", "--overwrite"), exported),
    "mesh": (("export", "mesh", *HELD, "--output", "mesh.obj", "--overwrite"), model),
}


@pytest.fixture
def workplace(command_line, saved_ball):
    return Workplace(saved_ball, command_line.run)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_kill_loses_nothing(workplace, fuzz, command_line, name) -> None:
    command, result = COMMANDS[name]

    def trial(random: Random, place: Path) -> Outcome:
        expected = workplace.expected(command, result, place.parent)
        workplace.copy_to(place)
        before = segmentation_hash(place / "ball")
        in_a_child(lambda: command_line.run(*command), random.randrange(1, CHANGES))
        if segmentation_hash(place / "ball") not in (before, expected):
            return "lost"
        if segmentation_hash(place / "ball") == before:  # the change was not made: make it
            code, _, err = command_line.run(*command)
            assert code == 0, err
        left = [one for one in place.rglob(".*") if one.name.startswith((".partial", ".commit"))]
        assert not [one for one in left if "sa3d_cache" not in one.parts], left
        return "healed" if result(place) == expected else "silently wrong"

    fuzz.run(f"kills in {name}", trial)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_full_disk_loses_nothing(workplace, fuzz, command_line, name) -> None:
    command, result = COMMANDS[name]

    def trial(random: Random, place: Path) -> Outcome:
        expected = workplace.expected(command, result, place.parent)
        workplace.copy_to(place)
        before = segmentation_hash(place / "ball")
        with failing_disk(random.randrange(1, CHANGES)):
            code, _, err = command_line.run(*command)
        if segmentation_hash(place / "ball") not in (before, expected):
            return "lost"
        if code == 0:
            return "healed" if result(place) == expected else "silently wrong"
        lines = err.strip().splitlines()
        assert code == 2, err
        assert lines[-1].startswith("error: "), err
        return "one clear line"

    fuzz.run(f"full disks in {name}", trial)
