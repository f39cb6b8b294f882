"""Two programs on one segmentation: none of their changes is lost."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nerfstudio_plugin.saved.folder_lock import locked
from sa3d.base.errors import SA3DError
from sa3d.objects.checkpoint import load_segmentation

SCRIPT = Path(__file__).with_name("analytic_cli.py")


def start(*arguments):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_lock_inside_a_lock_passes_and_nothing_is_left(tmp_path):
    with locked(tmp_path / "out"):
        with locked(tmp_path / "out", wait=False):
            pass
        assert [one.name for one in tmp_path.iterdir()] == [".out.lock"]
    assert not list(tmp_path.iterdir())


def test_a_removed_lock_file_lets_nobody_else_in(tmp_path):
    """Threads take turns, each of which removes the file that the next ones wait for."""
    inside, most = [], []

    def work():
        for _ in range(30):
            with locked(tmp_path / "out"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(most) == 120
    assert max(most) == 1


def test_who_waits_says_so_and_goes_on(tmp_path):
    said, entered = [], threading.Event()

    def other():
        with locked(tmp_path / "out", say=said.append):
            entered.set()

    with locked(tmp_path / "out"):
        thread = threading.Thread(target=other)
        thread.start()
        while not said:
            assert thread.is_alive()
        assert not entered.is_set()
        refused = []

        def impatient():
            try:
                with locked(tmp_path / "out", wait=False):
                    pass
            except SA3DError as error:
                refused.append(str(error))

        second = threading.Thread(target=impatient)
        second.start()
        second.join()
    thread.join(timeout=60)
    assert entered.is_set()
    assert said == [f"another sa3d is writing {tmp_path / 'out'}: waiting until it is done"]
    assert "give another folder" in refused[0]


def test_a_lock_where_there_can_be_none(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SA3DError, match="cannot write"), locked(tmp_path / "file/out"):
        pytest.fail("the block must not run")


def test_a_link_and_its_folder_have_one_lock(tmp_path):
    (tmp_path / "link").symlink_to("real")
    with locked(tmp_path / "link"):
        assert (tmp_path / ".real.lock").exists()


@pytest.mark.slow
def test_two_corrections_at_once_are_both_there(ball):
    (ball.parent / "config.yml").write_text("a run")
    points = {"frame_00003.png": "62,36", "frame_00006.png": "10,60"}
    running = [
        start(
            *("correct", "--segmentation", ball, "--view", view, "--points", point),
            *("--labels", "0", "--load-config", ball.parent / "config.yml"),
        )
        for view, point in points.items()
    ]
    for process in running:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    prompts = load_segmentation(ball).segmentation.object("ball").prompts
    assert {prompt.view for prompt in prompts} == {"frame_00000.png", *points}


@pytest.mark.slow
def test_two_segmentations_of_one_name_are_one(command_line, saved_ball):
    folder = command_line.folder
    (folder / "config.yml").write_text("a run")
    command = (
        *("segment", "--load-config", "config.yml", "--prepare.resolution", "40"),
        *("--view", "frame_00000", "--points", "52,34", "--output", "out"),
    )
    running = [start(*command) for _ in range(2)]
    results = [(process.communicate(timeout=300)[1], process.returncode) for process in running]
    assert sorted(code for _, code in results) == [0, 2], results
    (refused,) = [err for err, code in results if code == 2]
    assert "another sa3d is writing out" in refused or "out exists" in refused
    assert json.loads((folder / "out/segmentation.json").read_text())["objects"]
