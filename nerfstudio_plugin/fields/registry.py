"""The methods whose runs can be opened, and the field that renders each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from nerfstudio_plugin.fields.model_field import ModelField
from sa3d.base.errors import SA3DError

GROUP = "sa3d.fields"
"""Entry point group of packages that add methods; each entry point names a ``Method``."""


@dataclass(frozen=True)
class Method:
    """A family of methods with one model class.

    Attributes:
        names: the methods of ns-train.
        model: the model's class, ``module:Class``. Subclasses are other models.
        field: the class that renders it, a ``ModelField``, ``module:Class``.
    """

    names: tuple[str, ...]
    model: str
    field: str

    def field_class(self) -> type[ModelField[Any]]:
        """Import the class of the field."""
        module, _, name = self.field.partition(":")
        return getattr(import_module(module), name)


_OURS = "nerfstudio_plugin.fields"
METHODS = (
    Method(
        ("nerfacto", "nerfacto-big", "nerfacto-huge", "phototourism"),
        "nerfstudio.models.nerfacto:NerfactoModel",
        f"{_OURS}.nerfacto:NerfactoRadianceField",
    ),
    Method(
        ("depth-nerfacto",),
        "nerfstudio.models.depth_nerfacto:DepthNerfactoModel",
        f"{_OURS}.nerfacto:NerfactoRadianceField",
    ),
    Method(
        ("instant-ngp", "instant-ngp-bounded"),
        "nerfstudio.models.instant_ngp:NGPModel",
        f"{_OURS}.instant_ngp:InstantNgpRadianceField",
    ),
    Method(("neus",), "nerfstudio.models.neus:NeuSModel", f"{_OURS}.neus:NeusRadianceField"),
    Method(
        ("neus-facto",),
        "nerfstudio.models.neus_facto:NeuSFactoModel",
        f"{_OURS}.neus:NeusRadianceField",
    ),
    Method(
        ("vanilla-nerf",),
        "nerfstudio.models.vanilla_nerf:NeRFModel",
        f"{_OURS}.vanilla_nerf:VanillaNerfRadianceField",
    ),
    Method(
        ("mipnerf",),
        "nerfstudio.models.mipnerf:MipNerfModel",
        f"{_OURS}.mipnerf:MipNerfRadianceField",
    ),
    Method(
        ("tensorf",),
        "nerfstudio.models.tensorf:TensoRFModel",
        f"{_OURS}.tensorf:TensorfRadianceField",
    ),
)
"""The methods of Nerfstudio that this package opens."""


def known_methods() -> tuple[Method, ...]:
    """Return all methods: those of this package, then those of other packages."""
    added = (one.load() for one in entry_points(group=GROUP))
    return METHODS + tuple(one for one in added if isinstance(one, Method))


def find_method(model: type, method_name: str) -> Method:
    """Return the method of a model class.

    Args:
        model: the model's class.
        method_name: the run's method, for the error.

    Raises:
        SA3DError: no method is known for it; the message lists those that are.
    """
    path = f"{model.__module__}:{model.__qualname__}"
    known = known_methods()
    for method in known:
        if method.model == path:
            return method
    names = ", ".join(name for method in known for name in method.names)
    raise SA3DError(
        f"runs of {method_name!r} (model {path}) cannot be segmented; known are: {names}. "
        "docs/adding_a_method.md shows how to add one"
    )
