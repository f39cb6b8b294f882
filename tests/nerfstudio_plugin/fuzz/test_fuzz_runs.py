"""Random bytes and edited values in the files of a trained run, which come from others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from damage import spoil_bytes, spoil_json
from workplace import Workplace

RUN = "outputs/tiny/nerfacto/run"
PREPARE = (
    *("prepare", "--load-config", f"{RUN}/config.yml", "--data", "data", "--cache-dir", "cache"),
    *("--prepare.resolution", "16", "--prepare.ray-side", "8"),
)


@pytest.fixture
def workplace(command_line_of_runs, trained_once):
    """A run and its data."""
    return Workplace(trained_once, command_line_of_runs.run)


def operators(place: Path) -> str:
    """Return a hash of what was evaluated, whatever the scene's key is."""
    parts = []
    for path in sorted(place.glob("cache/*/views/*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            parts += [stored[name].tobytes() for name in ("rgb", "depth", "accumulation")]
    return str(hash(b"".join(parts)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pattern", "spoil", "users_file"),
    [
        ("a run's config.yml, bytes", f"{RUN}/config.yml", spoil_bytes, True),
        ("a checkpoint, bytes", f"{RUN}/nerfstudio_models/*.ckpt", spoil_bytes, False),
        ("dataparser_transforms.json", f"{RUN}/dataparser_transforms.json", spoil_json, True),
        ("transforms.json, bytes", "data/transforms.json", spoil_bytes, True),
        ("transforms.json, values", "data/transforms.json", spoil_json, True),
        ("photos of a run, bytes", "data/images/*", spoil_bytes, True),
    ],
)
def test_a_run_is_opened_or_refused(workplace, fuzz, name, pattern, spoil, users_file) -> None:
    trial = workplace.trial(
        pattern, spoil, PREPARE, operators, users_file=users_file, writes=("cache", "outputs")
    )
    fuzz.run(name, trial)
