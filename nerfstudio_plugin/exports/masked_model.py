"""A nerfacto model with an object cut out of it: alone in empty space, or gone from the scene.

Every density it evaluates, of the field and of the proposal networks, is cut by the object's
volume, so whatever Nerfstudio's commands make of it shows only what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.fields.base_field import Field
from nerfstudio.models.nerfacto import NerfactoModel, NerfactoModelConfig
from torch import Tensor
from torch.nn import Parameter

from nerfstudio_plugin.display.object_blocks import PREFIX, Blocks
from nerfstudio_plugin.runs.opening import without_lpips
from sa3d.base.errors import SA3DError
from sa3d.results.config import Keep

_EMPTY = "the exported field is empty: it has no density inside the object; export another object"


@dataclass
class MaskedNerfactoModelConfig(NerfactoModelConfig):
    """A nerfacto model's own options, and what is kept of it."""

    _target: type = field(default_factory=lambda: MaskedNerfactoModel)
    keep: Keep = "object"
    """The object alone, or everything else."""

    @classmethod
    def of(cls, base: NerfactoModelConfig, keep: Keep) -> MaskedNerfactoModelConfig:
        """The options of a trained nerfacto model; those of its training alone are dropped."""
        names = [one.name for one in fields(NerfactoModelConfig) if one.name != "_target"]
        return cls(keep=keep, **{name: deepcopy(getattr(base, name)) for name in names})


class MaskedNerfactoModel(NerfactoModel):
    """Nerfacto, of which only what is kept has density.

    The outputs are nerfacto's. Where less than half of a ray's light is stopped, and it passes the
    object, all depths are the ray's end: fusing depths then carves that space free.

    The checkpoint holds the NeRF's own weights, unchanged, and the objects' volumes beside them.
    """

    config: MaskedNerfactoModelConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def populate_modules(self) -> None:
        """Nerfacto's modules, with every density cut; without LPIPS, which wants a download."""
        with without_lpips():
            super().populate_modules()
        self.blocks = Blocks(())
        for network in (self.field, *self.proposal_networks):
            assert isinstance(network, Field)
            self._cut(network)

    def _cut(self, network: Field) -> None:
        """From now on a network's density is 0 where nothing is kept."""
        whole = network.get_density

        def cut(ray_samples: RaySamples) -> tuple[Tensor, Tensor]:
            density, features = whole(ray_samples)
            inside = self.blocks.contain(ray_samples.frustums.get_positions())
            kept = inside if self.config.keep == "object" else ~inside
            return density * kept[..., None], features

        network.get_density = cut  # pyright: ignore[reportAttributeAccessIssue]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take over the NeRF's weights and the objects' volumes.

        Raises:
            SA3DError: volumes are missing or damaged, the weights do not fit, or nothing is left.
        """
        own = {name: value for name, value in state_dict.items() if not name.startswith(PREFIX)}
        self.blocks = Blocks.from_tensors(state_dict, self.device)
        try:
            found = super().load_state_dict(own, strict=True, assign=assign)
        except RuntimeError as error:
            raise SA3DError(
                f"the exported field does not fit its config.yml under this Nerfstudio "
                f"({' '.join(str(error).split())[:600]}); use the version it was exported with"
            ) from error
        if self.config.keep == "object" and not self._has_density():
            raise SA3DError(_EMPTY)  # ns-export pointcloud would look for points forever
        return found

    @torch.no_grad()
    def _has_density(self) -> bool:
        return any(
            len(points) and bool((self.field.density_fn(points) > 0).any())
            for points in (block.points() for block in self.blocks.parts)
        )

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Any]:
        """Nerfacto's outputs of R rays; around a lone object only rays near it are evaluated."""
        near = self.blocks.meet(ray_bundle.origins, ray_bundle.directions)
        if self.config.keep == "rest":
            outputs = super().get_outputs(ray_bundle)
        else:
            evaluated = near.clone()
            evaluated[0] = True  # one ray tells which outputs there are
            some = super().get_outputs(self._narrowed(ray_bundle[evaluated]))
            outputs = {name: self._spread(name, some[name], evaluated) for name in some}
            near = torch.ones_like(near)
        passed = near[:, None] & (outputs["accumulation"] < 0.5)
        assert ray_bundle.fars is not None
        for name in outputs:
            if "depth" in name:
                outputs[name] = torch.where(passed, ray_bundle.fars, outputs[name])
        return outputs

    def _narrowed(self, bundle: RayBundle) -> RayBundle:
        """Rays that run only through the objects: seen from afar, samples would pass them by."""
        assert bundle.nears is not None
        assert bundle.fars is not None
        enter, leave = self.blocks.span(bundle.origins, bundle.directions)
        enter, leave = enter[:, None], leave[:, None]
        met = leave >= enter
        bundle.nears = torch.where(met, enter.clamp_min(0).maximum(bundle.nears), bundle.nears)
        bundle.fars = torch.where(met, leave.minimum(bundle.fars), bundle.fars)
        bundle.fars = bundle.fars.maximum(bundle.nears)  # cropped away
        return bundle

    def _spread(self, name: str, values: Tensor, evaluated: Tensor) -> Tensor:
        """An output of the evaluated rays as one of all rays [R, C]; the others see nothing."""
        everywhere = values.new_zeros(len(evaluated), values.shape[-1])
        if name == "rgb":
            nothing = everywhere[:, None]
            everywhere = self.renderer_rgb(rgb=nothing, weights=nothing[..., :1])
        everywhere[evaluated] = values
        return everywhere

    def get_rgba_image(self, outputs: dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """Colors [..., 4] with the light that is stopped as opacity.

        A lone object's colors are its own, without the background's share in them.
        """
        rgb, opacity = outputs[output_name], outputs["accumulation"].clamp(0, 1)
        if self.config.keep == "object":
            behind = self.renderer_rgb.get_background_color(
                self.renderer_rgb.background_color, rgb.shape, rgb.device
            )
            rgb = ((rgb - behind * (1 - opacity)) / opacity.clamp_min(1e-3)).clamp(0, 1)
        return torch.cat([rgb, opacity], dim=-1)

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """Asked for when a training begins.

        Raises:
            SA3DError: always.
        """
        raise SA3DError("an exported field is not trained further: train the run it came from")
