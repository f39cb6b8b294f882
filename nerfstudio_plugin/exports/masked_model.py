"""A nerfacto model that shows only objects, or the scene without them.

All of its densities, of the field and of the proposal networks, are set to 0 outside of the kept
part. So all of Nerfstudio's commands show only the kept part.
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
from nerfstudio_plugin.fields.cpu_modules import speed_up
from nerfstudio_plugin.runs.model_building import tcnn_modules, without_lpips
from sa3d.base.errors import SA3DError
from sa3d.results.config import Keep

_EMPTY = "the exported field is empty: it has no density inside the object; export another object"


@dataclass
class MaskedNerfactoModelConfig(NerfactoModelConfig):
    """The options of a nerfacto model, and the part of it that is kept."""

    _target: type = field(default_factory=lambda: MaskedNerfactoModel)
    keep: Keep = "object"
    """Only the objects, or everything else."""

    @classmethod
    def of(cls, base: NerfactoModelConfig, keep: Keep) -> MaskedNerfactoModelConfig:
        """Copy the options of a trained nerfacto model, without those of subclasses."""
        names = [one.name for one in fields(NerfactoModelConfig) if one.name != "_target"]
        return cls(keep=keep, **{name: deepcopy(getattr(base, name)) for name in names})


class MaskedNerfactoModel(NerfactoModel):
    """A nerfacto model in which only the kept part has density.

    The outputs are those of nerfacto. If the accumulation of a ray near the objects is below 0.5,
    all of its depths are set to the end of the ray, so that depth fusion leaves that space empty.

    The checkpoint contains the unchanged weights of the NeRF and the volumes of the objects.
    """

    config: MaskedNerfactoModelConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def populate_modules(self) -> None:
        """Make nerfacto's modules with cut densities, and without LPIPS, which needs a download.

        Weights of tiny-cuda-nn are evaluated by torch where it is not installed.
        """
        device = torch.device(self.kwargs.get("device", "cpu"))
        with without_lpips(), tcnn_modules(self.config.implementation, "auto", device):
            super().populate_modules()
        speed_up(self)
        self.blocks = Blocks(())
        for network in (self.field, *self.proposal_networks):
            assert isinstance(network, Field)
            self._cut(network)

    def _cut(self, network: Field) -> None:
        """Set the density of a network to 0 outside of the kept part."""
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
        """Load the weights of the NeRF and the volumes of the objects.

        Raises:
            SA3DError: volumes are missing or damaged, the weights do not fit, or there is no
                density in the objects.
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
            raise SA3DError(_EMPTY)  # ns-export pointcloud would search for points forever
        return found

    @torch.no_grad()
    def _has_density(self) -> bool:
        return any(
            len(points) and bool((self.field.density_fn(points) > 0).any())
            for points in (block.points() for block in self.blocks.parts)
        )

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Any]:
        """Return nerfacto's outputs of R rays; for objects alone, evaluate only rays near them."""
        near = self.blocks.meet(ray_bundle.origins, ray_bundle.directions)
        if self.config.keep == "rest":
            outputs = super().get_outputs(ray_bundle)
        else:
            evaluated = near.clone()
            evaluated[0] = True  # one ray is needed to get the names of the outputs
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
        """Limit rays to the objects; samples of long rays would miss small objects."""
        assert bundle.nears is not None
        assert bundle.fars is not None
        enter, leave = self.blocks.span(bundle.origins, bundle.directions)
        enter, leave = enter[:, None], leave[:, None]
        met = leave >= enter
        bundle.nears = torch.where(met, enter.clamp_min(0).maximum(bundle.nears), bundle.nears)
        bundle.fars = torch.where(met, leave.minimum(bundle.fars), bundle.fars)
        bundle.fars = bundle.fars.maximum(bundle.nears)  # a crop box may end before
        return bundle

    def _spread(self, name: str, values: Tensor, evaluated: Tensor) -> Tensor:
        """Expand an output of the evaluated rays to all rays, [R, C]; the others are empty."""
        everywhere = values.new_zeros(len(evaluated), values.shape[-1])
        if name == "rgb":
            nothing = everywhere[:, None]
            everywhere = self.renderer_rgb(rgb=nothing, weights=nothing[..., :1])
        everywhere[evaluated] = values
        return everywhere

    def get_rgba_image(self, outputs: dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """Return colors [..., 4] with the accumulation as opacity.

        The colors of objects alone do not include the background.
        """
        rgb, opacity = outputs[output_name], outputs["accumulation"].clamp(0, 1)
        if self.config.keep == "object":
            behind = self.renderer_rgb.get_background_color(
                self.renderer_rgb.background_color, rgb.shape, rgb.device
            )
            rgb = ((rgb - behind * (1 - opacity)) / opacity.clamp_min(1e-3)).clamp(0, 1)
        return torch.cat([rgb, opacity], dim=-1)

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """Refuse training.

        Raises:
            SA3DError: always.
        """
        raise SA3DError("an exported field cannot be trained: train the original run")
