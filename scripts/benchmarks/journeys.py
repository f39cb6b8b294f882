"""Count the modules that each journey of a user passes: modules in which a function runs.

    python scripts/benchmarks/journeys.py [--list]

Every journey runs the real command on the demo room, small, in a process of its own. A profiler
notes the file of every function called; bodies of modules and classes (imports) do not count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nerfstudio_plugin
import sa3d

PACKAGES = [Path(next(iter(package.__path__))) for package in (sa3d, nerfstudio_plugin)]
ROOM = PACKAGES[1] / "demo_scenes" / "room"
SMALL = ("--prepare.ray-side", "48", "--prepare.resolution", "64")

TRACED = """
import inspect, json, os, sys, threading
folders = tuple(sys.argv[1].split(os.pathsep))
seen = set()

def note(frame, event, _):
    code = frame.f_code
    name = code.co_filename
    if event == "call" and name.startswith(folders) and code.co_flags & inspect.CO_OPTIMIZED:
        seen.add(name)

threading.setprofile(note)
sys.setprofile(note)
from nerfstudio_plugin.cli import main
code = main(sys.argv[3:])
sys.setprofile(None)
with open(sys.argv[2], "w") as file:
    json.dump(sorted(seen), file)
sys.exit(code)
"""


def journeys(folder: Path, prompt: dict[str, Any]) -> dict[str, list[tuple[str, ...]]]:
    """The commands of each journey; they write to ``folder``, and later ones use what is there."""
    cache = str(folder / "cache")
    run = ("--load-config", str(ROOM / "run"), "--data", str(ROOM), "--cache-dir", cache)
    segment = ("segment", *run, *SMALL, "--segmenter", "graphcut", "--view", prompt["view"])
    x0, y0, x1, y1 = prompt["box"]
    saved = ("--segmentation", str(folder / "box"))
    job = {
        "name": "ball",
        "scene": "room",
        "prompts": [prompt],
        "segmenter": "graphcut",
        "settings": {"prepare": {"ray_side": 48, "resolution": 64}},
    }
    scene = {"load_config": str(ROOM / "run"), "data": str(ROOM), "cache_dir": cache}
    content = {"version": 1, "scenes": {"room": scene}, "jobs": [job]}
    (folder / "jobs.json").write_text(json.dumps(content), encoding="utf-8")
    return {
        "config to operator": [("prepare", *run, *SMALL)],
        "box prompt to masks": [
            (*segment, "--box", f"{x0},{y0},{x1},{y1}", "--output", str(folder / "box")),
            ("export", "masks", *saved, "--output", str(folder / "masks")),
        ],
        "click to 3D": [
            (
                *(*segment, "--points", f"{(x0 + x1) / 2:g},{(y0 + y1) / 2:g}"),
                *("--output", str(folder / "click")),
            )
        ],
        "mesh export": [("export", "mesh", *saved, "--output", str(folder / "ball.ply"))],
        "batch": [("batch", str(folder / "jobs.json"), "--output", str(folder / "batch"))],
    }


def passed(command: tuple[str, ...], folder: Path) -> set[str]:
    """Run a command; return the files of both packages in which a function ran.

    Raises:
        SystemExit: the command failed.
    """
    found = folder / "modules.json"
    packages = ":".join(map(str, PACKAGES))
    program = [sys.executable, "-c", TRACED, packages, str(found), *command]
    result = subprocess.run(program, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return set(json.loads(found.read_text(encoding="utf-8")))


def main() -> None:
    """Run the journeys and print the number of modules of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="also list the modules")
    listed = parser.parse_args().list
    prompts = json.loads((ROOM / "prompts.json").read_text(encoding="utf-8"))["prompts"]
    ball = next(one for one in prompts if one["object"] == "ball")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prompt = {key: ball[key] for key in ("view", "object", "box")}
        for name, commands in journeys(folder, prompt).items():
            modules = set().union(*(passed(command, folder) for command in commands))
            print(f"{name}: {len(modules)} modules", flush=True)
            for one in sorted(modules) if listed else ():
                print("   ", Path(one).relative_to(PACKAGES[0].parent))


if __name__ == "__main__":
    main()
