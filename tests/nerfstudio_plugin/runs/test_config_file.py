"""A run's ``config.yml`` is data from a stranger: nothing in it runs."""

import subprocess
from pathlib import Path

import pytest
import yaml
from nerfstudio.configs.dataparser_configs import dataparsers
from nerfstudio.configs.method_configs import method_configs
from nerfstudio.models.nerfacto import NerfactoModelConfig

from nerfstudio_plugin.runs.config_file import read_run_config
from sa3d.base.errors import SA3DError

PARSER = "!!python/object:nerfstudio.data.dataparsers.nerfstudio_dataparser."
TARGET = "_target: &id0 !!python/name:nerfstudio.data.dataparsers.nerfstudio_dataparser.Nerfstudio"


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Reads a config that must be refused; returns the one line."""
    ran = []
    for module, name in ((subprocess, "Popen"), (subprocess, "run")):
        monkeypatch.setattr(module, name, lambda *a, **k: ran.append(a))

    def read(text):
        path = tmp_path / "config.yml"
        path.write_text(text)
        with pytest.raises(SA3DError) as caught:
            read_run_config(path)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "ESC").exists()
        assert not ran
        return str(caught.value)

    return read


def nerfacto(tmp_path):
    return yaml.dump(method_configs["nerfacto"])


@pytest.mark.parametrize("method", sorted(method_configs))
def test_every_registered_method_is_read(method, tmp_path):
    path = tmp_path / "config.yml"
    path.write_text(yaml.dump(method_configs[method]))
    assert read_run_config(path).method_name == method_configs[method].method_name


def test_a_segmentation_by_ns_train_is_read_to_say_that_it_is_one(tmp_path):
    from nerfstudio_plugin.train.config import sa3d_method

    path = tmp_path / "config.yml"
    path.write_text(yaml.dump(sa3d_method.config))
    assert read_run_config(path).method_name == "sa3d"


@pytest.mark.parametrize("name", sorted(dataparsers))
def test_every_dataparser_is_read(name, tmp_path):
    path = tmp_path / "config.yml"
    config = method_configs["nerfacto"].__class__(**vars(method_configs["nerfacto"]))
    text = yaml.dump(config)
    parser = yaml.dump({"dataparser": dataparsers[name]})
    before, _, after = text.partition("    dataparser: ")
    rest = after.splitlines(keepends=True)
    end = next(i for i, line in enumerate(rest[1:], 1) if not line.startswith("      "))
    indented = "".join(f"    {line}\n" for line in parser.splitlines())
    path.write_text(before + indented + "".join(rest[end:]))
    found = vars(read_run_config(path).pipeline.datamanager)["dataparser"]
    assert type(found) is type(dataparsers[name])


@pytest.mark.parametrize(
    "target",
    [
        "torch.distributed.rpc.internal._run_function",
        "subprocess.Popen",
        "os.system",
        "builtins.exec",
        "nerfstudio.utils.scripts.run_command",
        "nerfstudio.models.nerfacto.NerfactoModel",
        "nerfstudio.engine.trainer.os",
        "nerfstudio_plugin.cli.__main__.main",
        "torch.optim.adam.Adam",
        "sa3d.loop.config.LoopConfig",
        "sa3d.base.json_files.read_json",
        "pathlib.Path",
    ],
)
def test_a_target_is_the_class_that_its_config_declares(refused, target, tmp_path):
    text = nerfacto(tmp_path)
    assert TARGET in text or "Nerfstudio" in text
    old = "!!python/name:nerfstudio.data.dataparsers.nerfstudio_dataparser.Nerfstudio ''"
    assert text.count(old) == 1
    refused(text.replace(old, f"!!python/name:{target} ''\n      args: [touch, ESC]"))
    refused(text.replace(old, f"!!python/name:{target} ''"))


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch ESC']",
        "!!python/object/apply:subprocess.Popen [['touch', 'ESC']]",
        "!!python/object/new:subprocess.Popen [['touch', 'ESC']]",
        "!!python/object/apply:pathlib.PosixPath [[ESC]]",
        "!!python/object/apply:operator.getitem [1, 2]",
        "!!python/object/apply:operator.getitem [!!python/name:builtins.list '']",
        "!!python/object/new:nerfstudio.configs.base_config.MachineConfig {state: {setup: 1}}",
        "!!python/object:nerfstudio.configs.base_config.MachineConfig {setup: 1}",
        "!!python/object:nerfstudio.configs.base_config.MachineConfig {__class__: 1}",
        "!!python/object:nerfstudio.utils.writer.EventName {x: 1}",
        "!!python/object/apply:nerfstudio.utils.writer.EventName [[]]",
        "!!python/object/apply:nerfstudio.utils.writer.EventName [NO_SUCH]",
        "!!python/name:nerfstudio.utils.scripts.run_command ''",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "!!python/object:torch.nn.Linear {}",
        "!!python/complex 1j",
        "{<<: &a {x: 1}, y: 2}",
        "!!timestamp nonsense",
        "!!int nonsense",
    ],
)
def test_values_that_would_run_or_do_not_belong(refused, value, tmp_path):
    text = nerfacto(tmp_path)
    assert "\nproject_name: nerfstudio-project\n" in text
    refused(text.replace("\nproject_name: nerfstudio-project\n", f"\nproject_name: {value}\n"))


def test_a_field_that_the_class_lacks_is_named(refused, tmp_path):
    line = refused(nerfacto(tmp_path) + "zzz: 1\n")
    assert "TrainerConfig has no field 'zzz'" in line


def test_fields_of_former_versions_are_dropped(tmp_path):
    text = nerfacto(tmp_path)
    assert "\nviewer: " in text
    path = tmp_path / "config.yml"
    head, _, tail = text.partition("\nviewer: !!python/object:nerfstudio.configs.base_config.")
    path.write_text(
        f"{head}\nviewer: !!python/object:nerfstudio.configs.base_config."
        + tail.replace("\n", "\n  zmq_port: null\n", 1)
    )
    assert not hasattr(read_run_config(path).viewer, "zmq_port")


def test_fields_that_are_newer_than_the_file_have_their_defaults(tmp_path):
    text = nerfacto(tmp_path)
    lines = [line for line in text.splitlines() if "rolling_shutter" not in line]
    path = tmp_path / "config.yml"
    path.write_text("\n".join(lines) + "\n")
    assert read_run_config(path).method_name == "nerfacto"


def test_deep_and_doubling_files(refused):
    assert "too deeply" in refused("[" * 20_000 + "]" * 20_000)
    doubling = "a0: &a0 {x: 1}\n" + "".join(
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 30)
    )
    assert "merge keys" in refused(doubling)
    aliases = "a0: &a0 [x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
    )
    assert "found dict" in refused(aliases)
    assert "too large" in refused("#" * (5 << 20))


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).with_name("former_configs").iterdir()), ids=lambda path: path.stem
)
def test_configs_that_former_versions_wrote_are_read(path):
    """The files are what those versions write for their own methods."""
    config = read_run_config(path)
    assert path.stem.partition("-")[2].startswith(config.method_name)  # -big is named nerfacto
    assert vars(config.pipeline.datamanager)["camera_optimizer"].mode == "SO3xR3"
    assert isinstance(config.pipeline.model, NerfactoModelConfig)
    assert config.pipeline.model.average_init_density == 1.0


def test_noise_of_a_former_version_that_was_not_saved_is_refused(refused):
    text = (Path(__file__).with_name("former_configs") / "0.3.4-nerfacto.yml").read_text()
    line = refused(text.replace("position_noise_std: 0.0", "position_noise_std: 0.1"))
    assert "position_noise_std 0.1 moved the cameras" in line
