import os

import pytest

from nerfstudio_plugin.runs.run_folder import checkpoint_step, find_config
from sa3d.base.errors import SA3DError


def make_run(root, name, age=0):
    config = root / name / "config.yml"
    config.parent.mkdir(parents=True)
    config.touch()
    os.utime(config, (1e9 - age, 1e9 - age))
    return config


def test_a_file_is_itself_though_it_is_missing(tmp_path):
    assert find_config(tmp_path / "config.yml") == tmp_path / "config.yml"


def test_each_folder_above_a_run(tmp_path, caplog):
    config = make_run(tmp_path, "outputs/kitchen/nerfacto/2024-05-01_120000")
    for folder in config.parents[:4]:
        assert find_config(folder) == config
    assert not caplog.records, "one run needs no explanation"


def test_the_newest_run_by_the_time_in_its_name(tmp_path, caplog):
    newest = make_run(tmp_path, "kitchen/nerfacto/2024-05-02_120000", age=99)
    make_run(tmp_path, "kitchen/nerfacto/2024-05-01_120000")
    assert find_config(tmp_path) == newest
    assert str(newest) in caplog.text
    assert "2 runs" in caplog.text


def test_the_newest_run_by_its_file(tmp_path):
    make_run(tmp_path, "nerfacto/first", age=99)
    newest = make_run(tmp_path, "nerfacto/again")
    assert find_config(tmp_path) == newest


def test_segmentations_are_no_trained_runs(tmp_path):
    make_run(tmp_path, "kitchen/sa3d/2024-05-03_120000")
    with pytest.raises(SA3DError, match="no trained run in"):
        find_config(tmp_path)
    trained = make_run(tmp_path, "kitchen/nerfacto/2024-05-01_120000")
    assert find_config(tmp_path / "kitchen") == trained


@pytest.mark.parametrize(
    ("name", "step"),
    [("step-000000012.ckpt", 12), ("step-x.ckpt", None), ("../step-1.ckpt", None), ("", None)],
)
def test_the_step_in_a_name(name, step):
    assert checkpoint_step(name) == step
