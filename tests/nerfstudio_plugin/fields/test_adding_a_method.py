"""The example in docs/adding_a_method.md works as it stands there."""

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
import tomllib
from field_checks import build, check_chunks, check_renders_as_the_model

from nerfstudio_plugin.fields import registry
from nerfstudio_plugin.fields.registry import find_method

PAGE = (Path(__file__).parents[3] / "docs/adding_a_method.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def package(monkeypatch):
    """The page's Python as the module ``fog_nerf``."""
    module = ModuleType("fog_nerf")
    monkeypatch.setitem(sys.modules, "fog_nerf", module)
    exec("\n".join(blocks("python")), vars(module))
    return module


def fog(package):
    return build(package.FogModelConfig(num_samples=48, eval_num_rays_per_chunk=64), seed=3)


def test_the_field_passes_the_contract_and_renders_as_its_model(package):
    package.check(fog(package))
    check_renders_as_the_model(package.FogField, fog(package))
    check_chunks(package.FogField, fog(package))


def test_the_entry_point_is_found(package, monkeypatch):
    ((group, entries),) = tomllib.loads(blocks("toml")[0])["project"]["entry-points"].items()
    found = [EntryPoint(name, value, group) for name, value in entries.items()]
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [one for one in found if one.group == group]
    )
    method = find_method(package.FogModel, "fog")
    assert method.field_class() is package.FogField


def test_the_field_is_as_short_as_promised():
    field = next(block for block in blocks("python") if "class FogField" in block)
    assert len(field.splitlines()) < 40
