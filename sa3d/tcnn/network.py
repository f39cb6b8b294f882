"""Fully connected networks whose layers have padded sizes and no biases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sa3d.tcnn.config_values import check_keys, one_of, whole_number
from sa3d.tcnn.parameter_vector import ParameterVector

ALIGNMENT = 16
"""Numbers of inputs and outputs are padded to multiples of this."""
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "None": lambda values: values,
    "ReLU": torch.relu_,
    "Sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class NetworkConfig:
    """Options of a fully connected network.

    Attributes:
        inputs, outputs: number of values in and out.
        width: number of neurons of a hidden layer.
        hidden: number of hidden layers.
        activation: of the hidden layers.
        output_activation: of the last layer.
        fill: value of the inputs that are added for padding. 1.0 makes their columns a bias.
    """

    inputs: int
    outputs: int
    width: int
    hidden: int
    activation: str
    output_activation: str
    fill: float

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], inputs: int, outputs: int, fill: float
    ) -> NetworkConfig:
        """Read tiny-cuda-nn's own configuration, with its defaults.

        Raises:
            SA3DError: an option is unknown, not supported or out of range.
        """
        check_keys(
            config,
            ("otype", "n_neurons", "n_hidden_layers", "activation", "output_activation"),
            "a network",
        )
        one_of(config, "otype", "FullyFusedMLP", ("FullyFusedMLP", "CutlassMLP"))
        known = tuple(_ACTIVATIONS)
        return cls(
            inputs=inputs,
            outputs=outputs,
            width=whole_number(config, "n_neurons", 128, 1, 1 << 14),
            hidden=whole_number(config, "n_hidden_layers", 5, 1, 1 << 10),
            activation=one_of(config, "activation", "ReLU", known),
            output_activation=one_of(config, "output_activation", "None", known),
            fill=fill,
        )


LayerShapes = tuple[tuple[int, int], ...]
"""Padded outputs and inputs of the layers of a network, in order."""


def possible_shapes(config: NetworkConfig) -> dict[int, LayerShapes]:
    """Return the possible shapes of a network's layers, by the length of the parameter vector.

    Inputs are padded to a multiple of 16. Ports to other GPUs pad them to a multiple of the width.
    """
    outputs = _padded(config.outputs, ALIGNMENT)
    inner = ((config.width, config.width),) * (config.hidden - 1)
    found: dict[int, LayerShapes] = {}
    for alignment in (ALIGNMENT, config.width):
        inputs = _padded(config.inputs, alignment)
        shapes = ((config.width, inputs), *inner, (outputs, config.width))
        found.setdefault(sum(rows * columns for rows, columns in shapes), shapes)
    return found


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def network(inputs: Tensor, params: Tensor, config: NetworkConfig, shapes: LayerShapes) -> Tensor:
    """Evaluate a fully connected network.

    Args:
        inputs: [N, inputs], float32.
        params: the matrices of the layers, in order, each row after row.
        config: options.
        shapes: of the layers.

    Returns:
        [N, outputs], without those added for padding.

    Source: tiny-cuda-nn's ``fully_fused_mlp.cu`` and ``cutlass_mlp.cu``; padding in
    ``encodings/identity.h`` (1 at the end) and ``encodings/grid.h`` (0).
    """
    values, start, last = inputs, 0, len(shapes) - 1
    for number, (rows, columns) in enumerate(shapes):
        matrix = params[start : start + rows * columns].view(rows, columns)
        if number == last:
            matrix = matrix[: config.outputs]
        used = values.shape[-1]
        bias = config.fill * matrix[:, used:].sum(dim=1) if used < columns else None
        values = F.linear(values, matrix[:, :used], bias)
        name = config.output_activation if number == last else config.activation
        values = _ACTIVATIONS[name](values)
        start += rows * columns
    return values


def xavier_uniform_(params: Tensor, shapes: LayerShapes) -> None:
    """Set the weights of all layers as tiny-cuda-nn does: uniform, by Xavier's rule."""
    start = 0
    for rows, columns in shapes:
        nn.init.xavier_uniform_(params[start : start + rows * columns].view(rows, columns))
        start += rows * columns


class Network(ParameterVector[LayerShapes]):
    """A fully connected network as a module; inputs added for padding are 1.

    Args:
        n_input_dims: number of inputs.
        n_output_dims: number of outputs.
        network_config: tiny-cuda-nn's own configuration.

    Raises:
        SA3DError: an option is unknown, not supported or out of range.
    """

    def __init__(
        self, n_input_dims: int, n_output_dims: int, network_config: Mapping[str, Any]
    ) -> None:
        config = NetworkConfig.from_dict(network_config, n_input_dims, n_output_dims, fill=1.0)
        super().__init__(n_input_dims, n_output_dims, possible_shapes(config))
        self.config = config
        xavier_uniform_(self.params.data, self.sizes)

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Return the outputs; see ``network``."""
        return network(inputs, self.params, self.config, self.sizes)
