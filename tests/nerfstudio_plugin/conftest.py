import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    """A tiny run trained by Nerfstudio's own trainer, in a process of its own. Read only."""
    folder = tmp_path_factory.mktemp("trained")
    script = Path(__file__).with_name("train_tiny_run.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


@pytest.fixture
def tiny_run(trained_once, tmp_path, monkeypatch):
    """A copy of the tiny run to open, move or spoil: the path of its config.yml."""
    for name in ("data", "outputs"):
        shutil.copytree(trained_once / name, tmp_path / name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # nothing may depend on the working directory
    return tmp_path / "outputs/tiny/nerfacto/run/config.yml"


@pytest.fixture(params=["dtu_scan65", "fox", "canclip"])
def shared_run(request):
    """The config.yml and data of a run on a real scene, where those are to be had."""
    shared = REPOSITORY.parent / "shared"
    config = shared / "checkpoints" / request.param / "nerfacto/small/config.yml"
    data = shared / "data" / request.param
    if not (config.is_file() and data.is_dir()):
        pytest.skip(f"no real run at {config} (with images at {data})")
    return config, data
