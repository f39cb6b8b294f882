"""The modules compute what tiny-cuda-nn's kernels compute.

``SA3D_TCNN_GOLDEN`` names another folder of such values; all sizes are read from its files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sa3d.tcnn.binding import Encoding, Network, NetworkWithInputEncoding
from sa3d.tcnn.hash_grid import HashGrid, hash_grid, level_corners
from sa3d.tcnn.level_sizes import GridLevel

GIVEN_SCALES = 1e-5
OWN_SCALES = 2e-3
"""Largest differences from values of infinite precision; see ``close_to_half`` for the GPU's."""
_NOTES = ("n_input_dims", "n_output_dims", "max_res")
"""Keys in the files' configurations that are not tiny-cuda-nn's."""

Golden = Mapping[str, np.ndarray]


def close_to_half(found: np.ndarray, half: np.ndarray, measured: float = 0.0) -> None:
    """Compare with values of the GPU, which have half precision.

    Args:
        measured: their largest difference from values of infinite precision, if that is larger:
            rounding adds up in wide networks with random weights.
    """
    assert_allclose(found, half.astype(np.float64), atol=max(2e-3, measured), rtol=2**-9)


def config_of(golden: Golden, name: str = "config_json") -> dict[str, Any]:
    loaded = json.loads(str(golden[name]))
    return {key: value for key, value in loaded.items() if key not in _NOTES}


def parameters(golden: Golden, prefix: str = "") -> torch.Tensor:
    """Make a parameter vector from its seed, and check it."""
    stem = f"{prefix}params"
    random = np.random.default_rng(int(golden[f"{stem}_seed"]))
    made = random.random(int(golden[f"{stem}_n"]), dtype=np.float32)
    made *= np.float32(2)
    made -= np.float32(1)
    made *= np.float32(golden[f"{stem}_amp"])
    assert hashlib.sha256(made.data).hexdigest() == str(golden[f"{stem}_sha256"])
    assert_array_equal(made[:8], golden[f"{stem}_first8"])
    assert_array_equal(made[-8:], golden[f"{stem}_last8"])
    return torch.from_numpy(made)


def filled(module: Any, *vectors: torch.Tensor) -> Any:
    module.load_state_dict({"params": torch.cat(vectors)}, strict=True)
    return module.requires_grad_(False)


def given_levels(golden: Golden) -> tuple[GridLevel, ...]:
    """Return the levels with the scales of the file."""
    edges = golden["offsets"].astype(int)
    return tuple(
        GridLevel(float(scale), int(resolution), int(start), int(end - start))
        for scale, resolution, start, end in zip(
            golden["scale_f32"], golden["resolution"], edges[:-1], edges[1:], strict=True
        )
    )


def check_grid(golden: Golden) -> None:
    points, params = torch.from_numpy(golden["x"]), parameters(golden)
    module = Encoding(3, config_of(golden))
    assert isinstance(module, HashGrid)
    filled(module, params)
    given = given_levels(golden)
    own = module.sizes
    assert [level.entries for level in own] == [level.entries for level in given]
    assert [level.resolution for level in own] == [level.resolution for level in given]
    assert_array_equal([level.dense for level in own], golden["dense"])
    config = module.config
    out = hash_grid(points, params, given, config.features, config.smooth)
    assert_allclose(out, golden["out_f32"], atol=GIVEN_SCALES, rtol=0)
    inside = golden["inside"]
    tolerance = np.repeat(golden["tol_f32_per_level_if_scale_off_by_2ulp"], config.features)
    difference = np.abs(module(points).numpy() - golden["out_f32"])[inside]
    assert (difference <= tolerance + GIVEN_SCALES).all()
    close_to_half(module(points).numpy()[inside], golden["out_f16"][inside])
    few = points[: len(golden["corner_index"])]
    for number, level in enumerate(given):
        corners, weights = level_corners(few, level, config.smooth)
        assert_array_equal(corners, golden["corner_index"][:, number].astype(np.int64))
        if "corner_weight_f32" in golden:
            assert_allclose(weights, golden["corner_weight_f32"][:, number], atol=1e-6, rtol=0)
    if "dy_dx_f32" in golden:
        moved = points.clone().requires_grad_()
        out = hash_grid(moved, params, given, config.features, config.smooth)
        for number, column in enumerate(out.unbind(dim=1)):
            (slope,) = torch.autograd.grad(column.sum(), moved, retain_graph=True)
            assert_allclose(slope, golden["dy_dx_f32"][:, number], atol=1e-4, rtol=1e-5)


def check_harmonics(golden: Golden) -> None:
    degree = math.isqrt(golden["out_f32"].shape[1])
    module = Encoding(3, {"otype": "SphericalHarmonics", "degree": degree})
    found = module(torch.from_numpy(golden["x"])).numpy()
    assert_allclose((golden["directions"] + 1) / 2, golden["x"], atol=1e-7)
    assert_allclose(found, golden["out_ideal"], atol=1e-6, rtol=0)
    assert_allclose(found, golden["out_f32"], atol=1e-6, rtol=0)
    close_to_half(found, golden["out_f16"])


def check_frequencies(golden: Golden) -> None:
    inputs = golden["x"].shape[1]
    count = golden["out_f32"].shape[1] // (2 * inputs)
    module = Encoding(inputs, {"otype": "Frequency", "n_frequencies": count})
    found = module(torch.from_numpy(golden["x"])).numpy()
    assert_allclose(found, golden["out_ideal"], atol=GIVEN_SCALES, rtol=0)
    close_to_half(found, golden["out_f16"])


def check_network(golden: Golden) -> None:
    sizes = json.loads(str(golden["config_json"]))
    module = Network(sizes["n_input_dims"], sizes["n_output_dims"], config_of(golden))
    filled(module, parameters(golden))
    assert_array_equal(module.sizes, golden["layer_shapes"])
    if module.sizes[0][1] != module.n_input_dims:
        assert float(golden["pad_value"]) == module.config.fill
    found = module(torch.from_numpy(golden["x"])).numpy()
    assert_allclose(found, golden["out_ideal_f64"], atol=GIVEN_SCALES, rtol=0)
    close_to_half(found, golden["out_f16"], float(golden["maxdiff_f16kernel_vs_ideal"]))


def check_whole(golden: Golden) -> None:
    points = torch.from_numpy(golden["x"])
    grid, network = config_of(golden, "encoding_json"), config_of(golden, "network_json")
    weights, entries = parameters(golden, "network_"), parameters(golden, "grid_")
    outputs = golden["out_ideal"].shape[1]
    if str(golden["kind"]).startswith("NetworkWithInputEncoding"):
        whole = NetworkWithInputEncoding(3, outputs, grid, network)
        filled(whole, weights, entries)
    else:
        first = filled(Encoding(3, grid), entries)
        last = filled(Network(first.n_output_dims, outputs, network), weights)
        whole = torch.nn.Sequential(first, last)
    encoding = filled(Encoding(3, grid), entries)
    same = [level.scale for level in encoding.sizes] == golden["scale_f32"].tolist()
    tolerance = GIVEN_SCALES if same else OWN_SCALES
    found = whole(points).numpy()
    assert_allclose(encoding(points), golden["enc_f32"], atol=tolerance, rtol=0)
    assert_allclose(found, golden["out_ideal"], atol=tolerance, rtol=0)
    close_to_half(found, golden["out_f16"])


def check_end_to_end(golden: Golden) -> None:
    config = json.loads(str(golden["config_json"]))
    steps = config["num_levels"] - 1
    growth = float(np.exp((np.log(config["max_res"]) - np.log(config["base_res"])) / steps))
    grid = {
        "otype": "HashGrid",
        "n_levels": config["num_levels"],
        "n_features_per_level": 2,
        "log2_hashmap_size": config["log2_hashmap_size"],
        "base_resolution": config["base_res"],
        "per_level_scale": growth,
    }
    base = NetworkWithInputEncoding(
        3, 16, grid, {"otype": "FullyFusedMLP", "n_neurons": config["hidden_dim"],
                      "n_hidden_layers": 1},
    )  # fmt: skip
    filled(base, parameters(golden, "mlp_base_network_"), parameters(golden, "mlp_base_grid_"))
    appearance = torch.from_numpy(golden["appearance"])
    head = Network(
        31 + appearance.shape[1], 3,
        {"otype": "FullyFusedMLP", "n_neurons": config["hidden_dim_color"], "n_hidden_layers": 2,
         "output_activation": "Sigmoid"},
    )  # fmt: skip
    filled(head, parameters(golden, "mlp_head_"))
    harmonics = Encoding(3, {"otype": "SphericalHarmonics", "degree": 4})
    seen = harmonics((torch.from_numpy(golden["directions"]) + 1) / 2)
    out = base(torch.from_numpy(golden["x"]))
    density = config["average_init_density"] * out[:, 0].exp()
    color = head(torch.cat([seen, out[:, 1:], appearance], dim=1))
    assert_allclose(seen, golden["sh_f16"].astype(float), atol=1e-3)
    assert_allclose(out, golden["base_out_ideal"], atol=OWN_SCALES, rtol=0)
    assert_allclose(density, golden["density_ideal"], atol=0, rtol=OWN_SCALES)
    assert_allclose(color, golden["rgb_ideal"], atol=OWN_SCALES, rtol=0)
    close_to_half(out.numpy(), golden["base_out_f16"])
    close_to_half(color.numpy(), golden["rgb_f16path"])


CHECKS: dict[str, Callable[[Golden], None]] = {
    "grid_": check_grid,
    "sh": check_harmonics,
    "freq": check_frequencies,
    "mlp_": check_network,
    "full_": check_whole,
    "e2e_": check_end_to_end,
}
_BESIDE = {".md", ".json"}


def golden_files(folder: Path) -> dict[str, tuple[Path, Callable[[Golden], None]]]:
    """Return the files of a folder and the check of each, by name.

    Raises:
        ValueError: there are none, or one that no check is for.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in _BESIDE:
            continue
        kinds = [check for prefix, check in CHECKS.items() if path.name.startswith(prefix)]
        if path.suffix != ".npz" or len(kinds) != 1:
            raise ValueError(f"no check is for {path}")
        found[path.stem] = (path, kinds[0])
    if not found:
        raise ValueError(f"{folder} has no golden values")
    return found


FOLDER = Path(os.environ.get("SA3D_TCNN_GOLDEN") or Path(__file__).with_name("golden"))
FILES = golden_files(FOLDER)


@pytest.mark.parametrize("name", FILES)
def test_golden_values(name: str) -> None:
    path, check = FILES[name]
    with np.load(path) as golden:
        check(golden)


def test_every_kind_of_value_is_there() -> None:
    assert {check for _, check in FILES.values()} == set(CHECKS.values())


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(ValueError, match="no golden values"):
        golden_files(tmp_path)


@pytest.mark.parametrize("name", ["new_kind.npz", "grid_tiny.npy"])
def test_an_unknown_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match="no check is for"):
        golden_files(tmp_path)


def test_a_wrong_value_is_found() -> None:
    path, check = FILES[next(name for name in FILES if name.startswith("sh"))]
    with np.load(path) as loaded:
        golden = dict(loaded)
    golden["out_f32"] = golden["out_f32"] * np.float32(-1)
    with pytest.raises(AssertionError):
        check(golden)
