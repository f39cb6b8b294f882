"""Modules with one parameter vector, as tiny-cuda-nn's Python binding has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

_Sizes = TypeVar("_Sizes")


class ParameterVector(nn.Module, Generic[_Sizes]):
    """A module whose parameters are one vector, ``params``; its length tells the sizes.

    Weights that are loaded may have another length than a new module, if the module allows it.

    Args:
        n_input_dims: number of inputs.
        n_output_dims: number of outputs.
        lengths: possible lengths of the vector, and the sizes that each belongs to; a new module
            has the first.
    """

    def __init__(
        self, n_input_dims: int, n_output_dims: int, lengths: Mapping[int, _Sizes]
    ) -> None:
        super().__init__()
        self.n_input_dims = n_input_dims
        self.n_output_dims = n_output_dims
        self._lengths = lengths
        self.params = nn.Parameter(torch.zeros(next(iter(lengths))))

    @property
    def sizes(self) -> _Sizes:
        """The sizes that belong to the length of the vector."""
        return self._lengths[len(self.params)]

    def forward(self, inputs: Tensor) -> Tensor:
        """Evaluate the module.

        Args:
            inputs: [N, n_input_dims]; converted to float32.

        Returns:
            [N, n_output_dims], float32.

        Raises:
            ValueError: the inputs have another shape.
        """
        if inputs.ndim != 2 or inputs.shape[1] != self.n_input_dims:
            raise ValueError(
                f"inputs must have the shape [N, {self.n_input_dims}], have {list(inputs.shape)}"
            )
        return self.evaluate(inputs.float())

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Return the outputs of checked inputs, float32."""
        raise NotImplementedError

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take over the length of the loaded vector, or report that it does not fit."""
        given = state_dict.get(prefix + "params")
        if isinstance(given, Tensor) and given.shape != self.params.shape:
            if given.ndim != 1 or len(given) not in self._lengths:
                possible = " or ".join(map(str, self._lengths))
                error_msgs.append(
                    f"{prefix}params has the shape {list(given.shape)}; the options allow "
                    f"{possible} numbers."
                )
                return
            self.params = nn.Parameter(self.params.new_empty(len(given)))
        lists = (missing_keys, unexpected_keys, error_msgs)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *lists)
