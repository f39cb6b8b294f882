from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sa3d.base.errors import SA3DError
from sa3d.tcnn.binding import Network, NetworkWithInputEncoding

TINY = {"otype": "FullyFusedMLP", "n_neurons": 16, "n_hidden_layers": 1}


def test_a_network_by_hand() -> None:
    """Two inputs and 14 for padding, which are 1: their weights add up to a bias."""
    network = Network(2, 1, TINY)
    first, last = torch.zeros(16, 16), torch.zeros(16, 16)
    first[0, :2] = torch.tensor([2.0, -1.0])
    first[0, 2:] = 0.5
    first[1, 0] = -1.0  # negative, so ReLU removes it
    last[0, :2] = torch.tensor([3.0, 100.0])
    last[1] = 7.0  # an output for padding
    network.load_state_dict({"params": torch.cat([first.flatten(), last.flatten()])})
    assert network(torch.tensor([[1.0, 4.0]])).tolist() == [[3 * (2 - 4 + 14 * 0.5)]]


@given(st.integers(1, 40), st.integers(0, 99))
def test_columns_for_padding_are_a_bias(inputs: int, seed: int) -> None:
    """A network with biases, which adds the columns up, computes the same."""
    torch.manual_seed(seed)
    network = Network(inputs, 3, {**TINY, "output_activation": "Sigmoid"})
    (rows, columns), (outputs, _) = network.sizes
    first = network.params[: rows * columns].view(rows, columns)
    last = network.params[rows * columns :].view(outputs, rows)
    x = torch.randn(4, inputs)
    hidden = torch.relu(x @ first[:, :inputs].T + first[:, inputs:].sum(1))
    torch.testing.assert_close(network(x), torch.sigmoid(hidden @ last[:3].T))


def test_padding_after_a_grid_is_zero() -> None:
    grid = {"otype": "HashGrid", "n_levels": 5, "log2_hashmap_size": 5, "base_resolution": 3}
    whole = NetworkWithInputEncoding(3, 1, grid, TINY)
    x = torch.rand(4, 3)
    before = whole(x)
    with torch.no_grad():
        whole.params[:256].view(16, 16)[:, 10:] += 9.0
    torch.testing.assert_close(whole(x), before, rtol=0, atol=0)


def test_inputs_padded_to_the_width_are_read() -> None:
    """As ports of tiny-cuda-nn to other GPUs do; the length of the vector tells."""
    network = Network(20, 16, {**TINY, "n_neurons": 64})
    assert network.sizes == ((64, 32), (16, 64))
    network.load_state_dict({"params": torch.rand(64 * 64 + 16 * 64)})
    assert network.sizes == ((64, 64), (16, 64))
    assert network(torch.rand(2, 20)).shape == (2, 16)


def test_gradients_reach_all_weights_that_count() -> None:
    network = Network(3, 2, {**TINY, "n_hidden_layers": 2, "activation": "None"})
    network(torch.rand(5, 3)).sum().backward()
    assert network.params.grad is not None
    layers = [256, 256]
    first, second, last = network.params.grad.split([*layers, 256])
    assert bool((first != 0).all())
    assert bool((second != 0).all())
    assert bool((last.view(16, 16)[:2] != 0).all())
    assert bool((last.view(16, 16)[2:] == 0).all())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"otype": "MegaMLP"}, "'otype'.*'MegaMLP'"),
        ({"activation": "Squareplus"}, "'activation'.*'Squareplus'.*supported: None, ReLU"),
        ({"output_activation": "Sine"}, "'output_activation'"),
        ({"n_hidden_layers": 0}, "'n_hidden_layers'"),
        ({"feedback_alignment": True}, "unknown key 'feedback_alignment'"),
    ],
)
def test_options_that_are_not_known_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(SA3DError, match=named):
        Network(3, 1, {**TINY, **change})


def test_another_length_is_refused_by_name() -> None:
    with pytest.raises(RuntimeError, match=r"params has the shape \[513\]; the options allow 512"):
        Network(10, 1, TINY).load_state_dict({"params": torch.zeros(513)})
