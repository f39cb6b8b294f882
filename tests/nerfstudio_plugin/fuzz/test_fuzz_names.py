"""Hostile names of objects, views and folders through commands, reports and exports."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from random import Random

import pytest
from damage import HOSTILE_NAMES
from fuzz_tally import Outcome
from workplace import Workplace, files_below

RUN = ("--load-config", "config.yml")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture
def workplace(command_line, saved_ball):
    return Workplace(saved_ball, command_line.run)


class _Tags(HTMLParser):
    """Counts the tags of a page, the attributes that run code, and the places links lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count a tag and its dangerous attributes."""
        self.found[tag] += 1
        for name, value in attrs:
            if name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.found[f"{tag} {name}"] += 1


def _tags(page: Path) -> Counter[str]:
    parser = _Tags()
    parser.feed(page.read_text("utf8"))
    return parser.found


def _random_name(random: Random) -> str:
    name = random.choice(HOSTILE_NAMES)
    if random.random() < 0.5:
        name = random.choice(("mug ", "x", "\u00e9", "..", "/", "\n", "<b>", "{1+1}")) + name
    return name


def _checked(run, command, place: Path, outside: dict[Path, bytes], allowed: set[str]) -> bool:
    """Run a command with a hostile name; return whether it accepted the name.

    Its output must be printable, and nothing but the folders ``allowed`` may change.
    """
    code, out, err = run(*command)
    assert not CONTROLS.search(out + err), f"control characters in {out + err!r}"
    assert "Traceback" not in err
    lines = err.strip().splitlines()
    options = [one for one in command[1:] if one.startswith("-") and one[:3] not in ("--s", "--l")]
    parser = bool(options) and "For full helptext" in err  # a name like --output is an option
    refused = code == 2 and (parser or (len(lines) == 1 and lines[0].startswith("error: ")))
    assert code == 0 or refused, f"{command}: {code} {err}"
    changed = files_below(place).keys() ^ outside.keys()
    strange = {p for p in changed if p.relative_to(place).parts[0] not in allowed}
    assert not strange, f"{command} wrote {strange}"
    return code == 0


def test_names_of_objects(workplace, fuzz, command_line) -> None:
    plain: list[Counter[str]] = []

    def trial(random: Random, place: Path) -> Outcome:
        workplace.copy_to(place)
        name = _random_name(random)
        outside = files_below(place)
        outside |= files_below(place.parent / "ESC")
        run = command_line.run
        rename = ("objects", "rename", "ball", name, "--segmentation", "ball", *RUN)
        accepted = _checked(run, rename, place, outside, {"ball"})
        held = ("--segmentation", "ball", *RUN)
        for command in (
            ("info", "ball"),
            ("objects", "list", "--segmentation", "ball"),
            ("export", "masks", *held, "--output", "masks"),
            ("export", "pointcloud", *held, "--output", "cloud.ply"),
            ("export", "mesh", *held, "--output", "mesh.obj"),
            ("report", *held, "--output", "report.html", "--no-turntable"),
        ):
            allowed = {
                "ball",
                "masks",
                "sa3d_cache",
                "cloud.ply",
                "mesh.obj",
                "mesh.mtl",
                "mesh.png",
            }
            allowed |= {f"{one}.manifest.json" for one in (*allowed, "report.html")} | {
                "report.html"
            }
            assert _checked(run, command, place, outside, allowed), command
        page = _tags(place / "report.html")
        plain.append(page)
        assert page == plain[0], f"{name!r} adds tags to the report: {page - plain[0]}"
        assert not list(place.parent.glob("**/ESC*")), "a name wrote outside"
        return "healed" if accepted else "one clear line"

    fuzz.run("names of objects", trial, weight=2)


def test_names_in_a_segmentation(workplace, fuzz, command_line) -> None:
    """Names that did not come through our own check: a folder from a stranger."""

    def trial(random: Random, place: Path) -> Outcome:
        workplace.copy_to(place)
        manifest = place / "ball/segmentation.json"
        content = json.loads(manifest.read_text("utf8"))
        name = _random_name(random)
        content["objects"][0]["name"] = name
        content.pop("checksum", None)
        manifest.write_text(json.dumps(content), "utf8")
        outside = files_below(place)
        export = ("export", "masks", "--segmentation", "ball", "--output", "masks", *RUN)
        allowed = {"masks", "masks.manifest.json", "sa3d_cache", "ball"}
        _checked(command_line.run, ("info", "ball"), place, outside, allowed)
        accepted = _checked(command_line.run, export, place, outside, allowed)
        assert not list(place.parent.glob("**/ESC*")), "a name wrote outside"
        return "other input" if accepted else "one clear line"

    fuzz.run("names in a segmentation of a stranger", trial)


def test_names_of_folders(workplace, fuzz, command_line) -> None:
    def trial(random: Random, place: Path) -> Outcome:
        workplace.copy_to(place)
        name = _random_name(random).replace("..", "__").lstrip("/")
        outside, there = files_below(place), set(place.iterdir())
        top = Path(name).parts[:1] or (".",)
        allowed = {*top, f"{top[0]}.manifest.json", "sa3d_cache"}
        command = ("export", "masks", "--segmentation", "ball", f"--output={name}", *RUN)
        accepted = _checked(command_line.run, command, place, outside, allowed)
        if not accepted:
            assert {one.name for one in set(place.iterdir()) - there} <= {"sa3d_cache"}
        return "healed" if accepted else "one clear line"

    fuzz.run("names of output folders", trial)
