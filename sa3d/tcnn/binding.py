"""The classes of tiny-cuda-nn's Python binding, by its names, in torch.

Code that calls ``tinycudann.Encoding``, ``Network`` or ``NetworkWithInputEncoding`` can call these
instead: arguments, parameters and results are the same. Values are float32: nearer to the trained
function than the half precision of a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sa3d.base.errors import SA3DError
from sa3d.tcnn.config_values import one_of
from sa3d.tcnn.frequency import Frequencies
from sa3d.tcnn.hash_grid import FIRST_ENTRIES, HashGrid, hash_grid
from sa3d.tcnn.level_sizes import GridLevel, HashGridConfig, possible_levels
from sa3d.tcnn.network import (
    LayerShapes,
    Network,
    NetworkConfig,
    network,
    possible_shapes,
    xavier_uniform_,
)
from sa3d.tcnn.parameter_vector import ParameterVector
from sa3d.tcnn.spherical_harmonics import SphericalHarmonics

__all__ = ["Encoding", "Network", "NetworkWithInputEncoding"]

_ENCODINGS = ("HashGrid", "SphericalHarmonics", "Frequency")


def Encoding(
    n_input_dims: int, encoding_config: Mapping[str, Any]
) -> HashGrid | SphericalHarmonics | Frequencies:
    """Make an encoding; it is not padded.

    Args:
        n_input_dims: number of inputs.
        encoding_config: tiny-cuda-nn's own configuration.

    Raises:
        SA3DError: an option is unknown, not supported or out of range.
    """
    kind = one_of(encoding_config, "otype", "", _ENCODINGS)
    if kind == "Frequency":
        return Frequencies(n_input_dims, encoding_config)
    if n_input_dims != 3:
        raise SA3DError(f"{kind} of tiny-cuda-nn is supported for 3 inputs, not {n_input_dims}")
    if kind == "HashGrid":
        return HashGrid(HashGridConfig.from_dict(encoding_config))
    return SphericalHarmonics(encoding_config)


class NetworkWithInputEncoding(ParameterVector[tuple[LayerShapes, tuple[GridLevel, ...]]]):
    """A hash grid and a network in one: the vector has the network first, then the grid.

    Inputs of the network that are added for padding are 0, unlike those of ``Network``.

    Args:
        n_input_dims: number of inputs.
        n_output_dims: number of outputs.
        encoding_config: tiny-cuda-nn's own configuration of the hash grid.
        network_config: of the network.

    Raises:
        SA3DError: an option is unknown, not supported or out of range.
    """

    def __init__(
        self,
        n_input_dims: int,
        n_output_dims: int,
        encoding_config: Mapping[str, Any],
        network_config: Mapping[str, Any],
    ) -> None:
        if n_input_dims != 3:
            raise SA3DError(f"a hash grid is supported for 3 inputs, not {n_input_dims}")
        grid = HashGridConfig.from_dict(encoding_config)
        config = NetworkConfig.from_dict(network_config, grid.outputs, n_output_dims, fill=0.0)
        lengths: dict[int, tuple[LayerShapes, tuple[GridLevel, ...]]] = {}
        for weights, shapes in possible_shapes(config).items():
            for entries, levels in possible_levels(grid).items():
                lengths.setdefault(weights + entries, (shapes, levels))
        super().__init__(n_input_dims, n_output_dims, lengths)
        self.grid, self.config = grid, config
        nn.init.uniform_(self.params, -FIRST_ENTRIES, FIRST_ENTRIES)
        xavier_uniform_(self.params.data, self.sizes[0])

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Return the outputs; see ``hash_grid`` and ``network``."""
        shapes, levels = self.sizes
        weights = sum(rows * columns for rows, columns in shapes)
        grid, config = self.grid, self.config
        encoded = hash_grid(inputs, self.params[weights:], levels, grid.features, grid.smooth)
        return network(encoded, self.params[:weights], config, shapes)
