"""Random bytes and edited values in every kind of file that the product reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from damage import spoil_bytes, spoil_json
from PIL import Image
from workplace import Workplace, pictures_hash, segmentation_hash

RUN = ("--load-config", "config.yml")
EXPORT = ("export", "masks", "--segmentation", "ball", "--output", "out", *RUN)
INFO = ("info", "ball")
CLICK = ("--view", "frame_00003", "--points", "50,30")
CORRECT = (
    *("correct", "--segmentation", "ball", "--object", "ball", "--output", "out"),
    *(*CLICK, *RUN),
)
SEGMENT = (
    "segment",
    "--prepare.resolution",
    "40",
    "--loop.convergence.max-rounds",
    "1",
    "--output",
    "out",
    *RUN,
)
PROMPTS = ("--prompts", "prompts.json")
PRESET = ("--config", "preset.toml")
PAINTED = ("--view", "frame_00000", "--mask", "mask.png")
WRITES = ("out", "sa3d_cache")
BATCH = ("batch", "jobs.json", "--output", "out", "--check")


@pytest.fixture
def workplace(command_line, saved_ball):
    """A segmentation of a ball and its cache."""
    return Workplace(saved_ball, command_line.run)


@pytest.fixture
def inputs(command_line, saved_ball, tmp_path):
    """Files that a user writes, beside the cache."""
    source = tmp_path / "inputs"
    shutil.copytree(saved_ball, source)
    _add_inputs(source)
    return Workplace(source, command_line.run)


def exported(place: Path) -> str:
    return pictures_hash(place / "out")


def corrected(place: Path) -> str:
    return segmentation_hash(place / "out")


def nothing(place: Path) -> str:
    return ""


@pytest.mark.parametrize(
    ("name", "pattern", "spoil", "command", "result"),
    [
        ("segmentation.json, bytes", "ball/segmentation.json", spoil_bytes, EXPORT, exported),
        ("segmentation.json, values", "ball/segmentation.json", spoil_json, EXPORT, exported),
        ("segmentation.json in info", "ball/segmentation.json", spoil_json, INFO, nothing),
        ("elements.npz, bytes", "ball/elements.npz", spoil_bytes, EXPORT, exported),
        ("masks of views, bytes", "ball/masks/*/*.png", spoil_bytes, EXPORT, exported),
        ("scene.json, bytes", "sa3d_cache/*/scene.json", spoil_bytes, EXPORT, exported),
        ("scene.json, values", "sa3d_cache/*/scene.json", spoil_json, EXPORT, exported),
        ("cached views, bytes", "sa3d_cache/*/views/*.npz", spoil_bytes, EXPORT, exported),
        ("encodings, bytes", "sa3d_cache/*/encodings/*/*.npz", spoil_bytes, CORRECT, corrected),
    ],
)
def test_a_saved_file_is_right_or_refused(
    workplace, fuzz, name, pattern, spoil, command, result
) -> None:
    fuzz.run(name, workplace.trial(pattern, spoil, command, result, writes=WRITES))


@pytest.mark.parametrize("spoil", [spoil_bytes, spoil_json])
def test_results_json(workplace, fuzz, spoil) -> None:
    rename = ("objects", "rename", "ball", "mug", "--segmentation", "ball", "--output", "out", *RUN)
    trial = workplace.trial("ball/results.json", spoil, rename, corrected, writes=WRITES)
    fuzz.run(f"results.json, {spoil.__name__[6:]}", trial)


def _spoil_arrays(random, path: Path) -> None:
    """Change one array of an archive that stays valid."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = random.choice(sorted(arrays))
    array = np.array(arrays[name])
    kind = random.randrange(8)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = array.astype(random.choice(("float64", "int8", "uint64", "U4", "complex64")))
    elif kind == 2:
        arrays[name] = array[: len(array) // 2] if array.ndim else array[None]
    elif kind == 3:
        arrays[name] = np.tile(array[None], (2,) + (1,) * array.ndim)
    elif kind == 4:
        arrays["unknown"] = array
    elif array.size and array.dtype.kind in "fiu":
        value = random.choice((np.nan, np.inf, -1.0, 1e30, 3.0, 0.0))
        if array.dtype.kind != "f":
            value = random.choice((-1, 2**31 - 1, 0, 10**6))
        array.reshape(-1)[random.randrange(array.size)] = np.array(value).astype(array.dtype)
        arrays[name] = array
    np.savez(path, **arrays)


def test_arrays_of_a_segmentation(workplace, fuzz) -> None:
    fuzz.run(
        "elements.npz, arrays",
        workplace.trial("ball/elements.npz", _spoil_arrays, EXPORT, exported, writes=WRITES),
    )


def test_arrays_of_the_cache(workplace, fuzz) -> None:
    pattern = "sa3d_cache/*/views/*.npz"
    trial = workplace.trial(pattern, _spoil_arrays, EXPORT, exported, writes=WRITES)
    fuzz.run("cached views, arrays", trial)


def _add_inputs(place: Path) -> None:
    mask = np.zeros((72, 96), dtype=bool)
    mask[28:40, 46:58] = True
    Image.fromarray(mask).save(place / "mask.png")
    prompts = [
        {"object": "ball", "view": "frame_00000.png", "points": [[52, 34]], "labels": [1]},
        {"object": "crate", "view": "frame_00003.png", "box": [50, 25, 75, 50], "candidate": 1},
        {"object": "cup", "view": "frame_00000.png", "mask": "mask.png"},
    ]
    (place / "prompts.json").write_text(json.dumps({"prompts": prompts}))
    (place / "preset.toml").write_text(
        'segmenter = "graphcut"\n[prepare]\nresolution = 40\n'
        "[loop]\nprior = 0.3\n[loop.convergence]\nmax_rounds = 1\n"
    )
    jobs = {
        "version": 1,
        "scenes": {"room": {"load_config": "config.yml"}},
        "jobs": [
            {
                "name": "one",
                "scene": "room",
                "prompts": prompts,
                "settings": {"loop": {"convergence": {"max_rounds": 1}}},
                "exports": [{"kind": "masks", "output": "masks", "objects": ["ball"]}],
            },
            {"name": "all", "scene": "room", "everything": True},
        ],
    }
    (place / "config.yml").write_text("")
    (place / "jobs.json").write_text(json.dumps(jobs))


@pytest.mark.parametrize(
    ("name", "pattern", "spoil", "command", "result"),
    [
        ("jobs.json, bytes", "jobs.json", spoil_bytes, BATCH, nothing),
        ("jobs.json, values", "jobs.json", spoil_json, BATCH, nothing),
        ("prompts.json, bytes", "prompts.json", spoil_bytes, (*SEGMENT, *PROMPTS), corrected),
        ("prompts.json, values", "prompts.json", spoil_json, (*SEGMENT, *PROMPTS), corrected),
        ("a preset, bytes", "preset.toml", spoil_bytes, (*SEGMENT, *CLICK, *PRESET), corrected),
        ("a painted mask, bytes", "mask.png", spoil_bytes, (*SEGMENT, *PAINTED), corrected),
    ],
)
def test_the_users_file_is_read_or_refused(
    inputs, fuzz, name, pattern, spoil, command, result
) -> None:
    fuzz.run(name, inputs.trial(pattern, spoil, command, result, users_file=True, writes=WRITES))
