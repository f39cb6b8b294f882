import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
from nerfstudio.models.nerfacto import NerfactoModel

from nerfstudio_plugin.fields import registry
from nerfstudio_plugin.fields.model_field import ModelField
from nerfstudio_plugin.fields.registry import METHODS, Method, find_method
from sa3d.base.errors import SA3DError


class FoggyModel:
    """Of another package."""


class FoggyField(ModelField):
    """Of another package."""


FOGGY = Method(("foggy",), f"{__name__}:FoggyModel", "foggy_nerf:FoggyField")


@pytest.fixture
def packages(monkeypatch):
    """A package ``foggy_nerf``; returns a function that sets the entry points there are."""
    module = ModuleType("foggy_nerf")
    for name, value in (("METHOD", FOGGY), ("FoggyField", FoggyField), ("NUMBER", 3)):
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "foggy_nerf", module)

    def install(*values):
        found = [EntryPoint("foggy", value, registry.GROUP) for value in values]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)

    return install


def refusal(model=FoggyModel):
    with pytest.raises(SA3DError) as raised:
        find_method(model, "foggy")
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_an_unknown_method_is_told_what_is_known_and_how_to_add_one(packages):
    packages()
    message = refusal()
    for method in METHODS:
        for name in method.names:
            assert name in message
    assert "'foggy'" in message
    assert "FoggyModel" in message
    assert "docs/adding_a_method.md" in message


def test_methods_of_other_packages_are_found(packages):
    packages("foggy_nerf:METHOD")
    assert find_method(FoggyModel, "foggy") is FOGGY
    assert FOGGY.field_class() is FoggyField

    class Misty:
        """Unknown."""

    assert "foggy, " in refusal(Misty) or "foggy." in refusal(Misty)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nowhere_nerf.fields:METHOD", "ModuleNotFoundError"),
        ("foggy_nerf:MISSING", "AttributeError"),
        ("foggy_nerf:NUMBER", "no Method"),
    ],
)
def test_a_broken_package_is_named_and_breaks_no_other_run(packages, value, reason):
    packages(value)
    message = refusal()
    assert repr(value.partition(":")[0].partition(".")[0]) in message
    assert reason in message
    assert find_method(NerfactoModel, "nerfacto") is METHODS[0]
    packages(value, "foggy_nerf:METHOD")
    assert find_method(FoggyModel, "foggy") is FOGGY


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("nowhere_nerf:Field", "ModuleNotFoundError"),
        ("foggy_nerf:Missing", "AttributeError"),
        ("foggy_nerf:NUMBER", "no ModelField"),
    ],
)
def test_a_field_that_cannot_be_imported_is_named(packages, field, reason):
    packages()
    with pytest.raises(SA3DError, match=reason) as raised:
        Method(("foggy",), FOGGY.model, field).field_class()
    assert repr(field.partition(":")[0]) in str(raised.value)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.names[0])
def test_every_method_names_classes_that_there_are(method):
    from importlib import import_module

    module, _, name = method.model.partition(":")
    assert find_method(getattr(import_module(module), name), "") is method
    assert issubclass(method.field_class(), ModelField)
