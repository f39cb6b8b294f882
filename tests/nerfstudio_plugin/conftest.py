import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from view_page import Pictures

from nerfstudio_plugin.benchmark import cases as benchmark_cases
from nerfstudio_plugin.cli import main
from nerfstudio_plugin.demo import data as demo_data
from nerfstudio_plugin.demo.data import DemoScene, open_demo
from sa3d.objects.checkpoint import write_bitmap
from sa3d.objects.prompts import Prompt
from sa3d.testing.analytic_scene import AnalyticScene, analytic_scene

_TURNED = torch.tensor([[0.0, -1.0, 0.0, 0.1], [1.0, 0.0, 0.0, 0.2], [0.0, 0.0, 1.0, 0.3]])

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
def dense_run(tiny_run):
    """The tiny run as opaque fog that fills all space: whatever is cut out of it has a surface."""
    text = tiny_run.read_text()
    assert "average_init_density: 1.0" in text
    tiny_run.write_text(text.replace("average_init_density: 1.0", "average_init_density: 100.0"))
    return tiny_run


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


@pytest.fixture(scope="session")
def photographed(tmp_path_factory):
    """A ball and a crate on a table, as a run would give them. Read only."""
    return analytic_scene(tmp_path_factory.mktemp("photographed"), size=(96, 72), prepare=False)


@dataclass
class CommandLine:
    """``sa3d`` in this process, on the analytic scene: ``field`` stands for the run's model."""

    folder: Path
    scene: AnalyticScene | None
    capture: pytest.CaptureFixture | None
    field: object

    def open_run(self, load_config, *, data=None, device="auto", step=None, fields=None):
        checkpoint = self.folder / "step-000000002.ckpt"
        checkpoint.write_bytes(b"weights")
        return SimpleNamespace(
            field=self.field,
            views=self.scene.scene.views,
            dataparser_transform=_TURNED,
            dataparser_scale=0.5,
            load_config=load_config,
            checkpoint_path=checkpoint,
            data=self.folder,
            config=SimpleNamespace(method_name="nerfacto"),
            tcnn=None,
            device="cpu",
        )

    def run(self, *argv):
        """Exit code, stdout and stderr."""
        try:
            code = main([str(part) for part in argv])
        except SystemExit as leaving:
            code = leaving.code
        out, err = self.capture.readouterr()
        return code, out, err

    def succeeds(self, *argv):
        """Run, expect success, return stdout."""
        code, out, err = self.run(*argv)
        assert code == 0, err
        return out

    def refuses(self, *argv):
        """Run, expect exit code 2 and exactly one line, return the line."""
        code, _, err = self.run(*argv)
        lines = err.strip().splitlines()
        assert code == 2, err
        assert len(lines) == 1, err
        assert lines[0].startswith("error: "), err
        return lines[0]

    def segment_ball(self, output, *more):
        """``sa3d segment`` with one click on the ball."""
        click = ("--view", "frame_00000", "--points", "52,34", "--object", "ball")
        return self.segment(output, *click, *more)

    def segment(self, output, *more):
        """Arguments of ``sa3d segment``; the grid is as coarse as the pictures are small."""
        run = ("--load-config", "config.yml", "--prepare.resolution", "40")
        return ("segment", *run, "--output", output, *more)


@pytest.fixture
def command_line(photographed, tmp_path, monkeypatch, capsys):
    """The command line on an analytic scene, without Nerfstudio."""
    monkeypatch.chdir(tmp_path)
    made = CommandLine(tmp_path, photographed, capsys, photographed.field)
    fake = SimpleNamespace(open_run=made.open_run)
    monkeypatch.setitem(sys.modules, "nerfstudio_plugin.runs.opening", fake)
    return made


@pytest.fixture
def small_demo(command_line, photographed, monkeypatch):
    """The analytic scene in the place of the shipped ones."""
    clicks = {"ball": ("frame_00000", (52.0, 34.0)), "crate": ("frame_00003", (62.0, 36.0))}
    for name in clicks:
        for view, mask in zip(photographed.scene.views, photographed.masks[name], strict=True):
            write_bitmap(command_line.folder / "masks_gt" / name / view.name, mask)
    prompts = {name: Prompt(view, name, (point,), (1,)) for name, (view, point) in clicks.items()}
    demo = DemoScene(command_line.folder, command_line.folder / "config.yml", prompts)
    for module in (demo_data, benchmark_cases):
        monkeypatch.setattr(module, "open_demo", lambda _: demo)
    return command_line


@pytest.fixture
def command_line_of_runs(tmp_path, capsys):
    """The command line as it is, on real runs."""
    return CommandLine(tmp_path, None, capsys, None)


@pytest.fixture(scope="session")
def saved_ball(photographed, tmp_path_factory):
    """A folder holding ``sa3d_cache`` and ``ball``, a segmentation of the ball. Read only."""
    folder = tmp_path_factory.mktemp("saved")
    made = CommandLine(folder, photographed, None, photographed.field)
    (folder / "config.yml").write_text("a run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fake = SimpleNamespace(open_run=made.open_run)
        patch.setitem(sys.modules, "nerfstudio_plugin.runs.opening", fake)
        assert main([str(part) for part in made.segment_ball("ball")]) == 0
    return folder


@pytest.fixture
def ball(command_line, saved_ball):
    """A copy of the ball's segmentation and its cache, in the working directory."""
    shutil.copytree(saved_ball, command_line.folder, dirs_exist_ok=True)
    return command_line.folder / "ball"


@pytest.fixture(scope="session")
def room_cache(tmp_path_factory):
    """The demo room, prepared with the demo's settings: a cache folder to share.

    SA3D_ROOM_CACHE names one that is there already, to save the minutes.
    """
    if "SA3D_ROOM_CACHE" in os.environ:
        return Path(os.environ["SA3D_ROOM_CACHE"])
    folder = tmp_path_factory.mktemp("room") / "cache"
    demo = open_demo("room")
    options = ("--load-config", demo.load_config, "--data", demo.folder, "--config", "demo")
    command = [str(Path(sys.executable).parent / "sa3d"), "prepare", *map(str, options)]
    done = subprocess.run(
        [*command, "--cache-dir", str(folder)], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def pictures(request, tmp_path_factory):
    """Folder for screenshots of pages: ``--pictures DIR``, or a temporary one."""
    folder = request.config.getoption("--pictures")
    if folder:
        return Pictures(Path(folder), (1280, 960), linger_ms=12000)
    return Pictures(tmp_path_factory.mktemp("pictures"))
