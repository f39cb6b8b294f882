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
        """Import the class of the field.

        Raises:
            SA3DError: it cannot be imported, or is no ``ModelField``.
        """
        module, _, name = self.field.partition(":")
        try:
            found = getattr(import_module(module), name)
        except Exception as error:  # of a package that is not ours: anything
            raise self._broken(_reason(error)) from error
        if not (isinstance(found, type) and issubclass(found, ModelField)):
            raise self._broken("it is no ModelField")
        return found

    def _broken(self, reason: str) -> SA3DError:
        package = self.field.partition(".")[0].partition(":")[0]
        return SA3DError(
            f"the field {self.field!r} of {', '.join(self.names)} cannot be used ({reason}): "
            f"repair or remove the package {package!r}"
        )


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


def _added() -> tuple[list[Method], list[str]]:
    """Return the methods of other packages, and what is wrong with those that cannot be loaded."""
    methods, problems = [], []
    for entry in entry_points(group=GROUP):
        try:
            found = entry.load()
        except Exception as error:  # of a package that is not ours: anything
            found, reason = None, _reason(error)
        else:
            reason = "it is no Method"
        if isinstance(found, Method):
            methods.append(found)
        else:
            package = entry.dist.name if entry.dist else entry.module.partition(".")[0]
            problems.append(
                f"the package {package!r} adds {entry.value!r}, which cannot be used ({reason})"
            )
    return methods, problems


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def find_method(model: type, method_name: str) -> Method:
    """Return the method of a model class.

    Args:
        model: the model's class.
        method_name: the run's method, for the error.

    Raises:
        SA3DError: no method is known for it; the message lists those that are, and the packages
            whose methods cannot be loaded.
    """
    path = f"{model.__module__}:{model.__qualname__}"
    for method in METHODS:
        if method.model == path:
            return method
    added, problems = _added()
    for method in added:
        if method.model == path:
            return method
    names = ", ".join(name for method in (*METHODS, *added) for name in method.names)
    broken = f"; {'; '.join(problems)}: repair or remove it" if problems else ""
    raise SA3DError(
        f"runs of {method_name!r} (model {path}) cannot be segmented; known are: {names}{broken}. "
        "The page 'Add a method' of the documentation (docs/adding_a_method.md in the repository) "
        "shows how to add one"
    )
