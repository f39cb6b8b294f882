"""Turns weights of nerfacto runs of Nerfstudio 0.1.19 to 0.3.4 into those of 1.0.0 to 1.1.5.

Nothing changes in what the weights compute. Read in the history of Nerfstudio:

*Layouts.* Up to 0.3.1 there is only tiny-cuda-nn: ``field.mlp_base.params`` and
``proposal_networks.N.mlp_base.params`` are one vector each, the network's weights and then the
grid's, and spare inputs of the network are 0. 0.3.2 to 0.3.4 have grid and network apart, spare
inputs are 1, and there are torch runs. Since 1.0.0 the field is one vector again (0 on spare
inputs), the proposal networks stay apart (1). Before 0.1.19 positions outside the grid had a
density; the buffer ``field.max_res`` is missing in those checkpoints, and they are refused.

*The same in all versions*: the torch hash encoding, its networks and spherical harmonics of degree
4, the frequency encoding, the scene contraction, the samplers, the order of the head's inputs, the
appearance embedding (its mean, or zeros), the density (``average_init_density`` is 1 before 1.0.1,
the default), the background (a random one was random in evaluation up to 0.3.1, then black), and
the near plane, which is 0 outside training.

*Options.* 0.3.2 writes ``base_res`` and ``features_per_level`` to the config (nerfacto-big: 32,
nerfacto-huge: 32 and 4) and builds the field with 16 and 2 all the same. Its tiny-cuda-nn runs are
known by a torch ``hash_table`` without a use beside each grid.

*Cameras.* Up to 0.3.4 the data manager had the camera optimizer, and applied its poses in the frame
of the camera, ``camera_to_world @ correction``. Since 1.0.0 the model has it, and applies rotation
and translation in the world frame. With C the camera's rotation, the adjustment (t, w) becomes
(C t, C w), since C exp(w) C^T = exp(C w); that holds for SO3xR3 and SE3. Up to 0.3.2 photos of a
``transforms.json`` were numbered as they stand in the file, later by name; those of COLMAP's own
files, up to 0.3.4, as they stand in the file, later by COLMAP's number. Other data is numbered as
it always was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.tcnn.level_sizes import HashGridConfig, possible_levels
from sa3d.tcnn.network import LayerShapes, NetworkConfig, possible_shapes

FORMER_POSES = "datamanager.train_camera_optimizer.pose_adjustment"
"""Key of the pose adjustments up to 0.3.4, in the pipeline's weights."""
POSES = "camera_optimizer.pose_adjustment"
"""Key of the pose adjustments since 1.0.0, in the model's weights."""
_WITHOUT_POSES = (
    "set the mode of the data manager's camera_optimizer in config.yml to 'off' to open the run "
    "with the cameras of the data"
)
_FIELD = "field.mlp_base.model"
_FORMER_OPTIONS = {"base_res": 16, "features_per_level": 2}
"""Options that the field always had up to 0.3.2."""
_PROPOSAL_OPTIONS = {
    **{"num_layers": 2, "hidden_dim": 64, "num_levels": 8, "max_res": 1024, "base_res": 16},
    **{"log2_hashmap_size": 18, "features_per_level": 2},
}
"""Defaults of Nerfstudio's ``HashMLPDensityField``, in all versions."""


def current_layout(weights: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Return the weights under the keys of Nerfstudio 1.0.0 to 1.1.5; current ones as they are.

    Weights that are of no known layout are left as they are, for ``check_keys``.

    Args:
        weights: of the model, by key.
        model: options of the run's nerfacto model, a ``NerfactoModelConfig``. ``base_res`` and
            ``features_per_level`` are set to those that the field had.

    Raises:
        SA3DError: the weights cannot be expressed in the current layout, do not have the lengths
            that the options give, or are older than 0.1.19.
    """
    found = dict(weights)
    if "field.mlp_base.params" in found:
        _check_buffers(found, model)
        _set_options(model, _FORMER_OPTIONS)
        return _from_one_vector(found, model)
    if "field.mlp_base_grid.tcnn_encoding.params" in found:
        _check_buffers(found, model)
        return _from_separate_vectors(found, model)
    if "field.mlp_base_grid.hash_table" in found:
        _check_buffers(found, model)
        return _from_separate_torch(found, model)
    return found


def _from_one_vector(weights: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Return the weights of 0.1.19 to 0.3.1."""
    made: dict[str, Tensor] = {}
    for key, value in weights.items():
        proposal = re.fullmatch(r"(proposal_networks\.(\d+))\.mlp_base\.params", key)
        if proposal:
            grid, network = _split(key, value, _proposal_options(model, int(proposal[2])))
            made[f"{proposal[1]}.encoding.tcnn_encoding.params"] = grid
            made[f"{proposal[1]}.mlp_base.0.tcnn_encoding.params"] = grid
            made[f"{proposal[1]}.mlp_base.1.tcnn_encoding.params"] = network
        elif key == "field.mlp_base.params":
            made[f"{_FIELD}.params"] = value
        elif key.endswith(".params"):
            made[f"{key.removesuffix('.params')}.tcnn_encoding.params"] = value
        else:
            made[key] = value
    return made


def _split(key: str, vector: Tensor, options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the grid, and the network for spare inputs of 1 instead of 0."""
    grid = _grid(options)
    lengths: dict[int, tuple[int, LayerShapes]] = {}
    for weights, shapes in _shapes(options["hidden_dim"], options["num_layers"], 1, grid).items():
        for entries in possible_levels(grid):
            lengths.setdefault(weights + entries, (weights, shapes))
    if vector.ndim != 1 or len(vector) not in lengths:
        raise SA3DError(
            f"the weights {key!r} have the shape {list(vector.shape)}; the config.yml of the run "
            f"gives {' or '.join(map(str, lengths))} numbers: restore the config.yml of the "
            "training"
        )
    weights, shapes = lengths[len(vector)]
    network = vector[:weights].clone()
    rows, columns = shapes[0]
    network[: rows * columns].view(rows, columns)[:, grid.outputs :] = 0
    return vector[weights:].clone(), network


def _from_separate_vectors(weights: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Return the weights of 0.3.2 to 0.3.4, of tiny-cuda-nn."""
    if "field.mlp_base_grid.hash_table" in weights:  # 0.3.2
        _set_options(model, _FORMER_OPTIONS)
    made = {
        key: value
        for key, value in weights.items()
        if not (
            key.endswith(".hash_table")
            and f"{key.removesuffix('.hash_table')}.tcnn_encoding.params" in weights
        )
    }
    grid = made.pop("field.mlp_base_grid.tcnn_encoding.params")
    if "field.mlp_base_mlp.tcnn_encoding.params" not in made:
        return dict(weights)
    network = made.pop("field.mlp_base_mlp.tcnn_encoding.params")
    for alias, value in (("0", grid), ("1", network)):
        _drop_alias(made, f"field.mlp_base.{alias}.tcnn_encoding.params", value)
    options = {**_PROPOSAL_OPTIONS, **{name: getattr(model, name) for name in _field_options()}}
    inputs = _grid(options)
    shapes = _shapes(model.hidden_dim, 2, 16, inputs).get(len(network))
    if shapes is None or shapes[0][1] != inputs.outputs:
        raise SA3DError(
            f"the field's network has {inputs.outputs} inputs, which Nerfstudio 0.3 padded with "
            "ones; newer versions pad with zeros, and cannot express it: train again with them"
        )
    made[f"{_FIELD}.params"] = torch.cat([network, grid])
    return made


def _from_separate_torch(weights: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Return the weights of 0.3.2 to 0.3.4, of torch."""
    made = dict(weights)
    table = made["field.mlp_base_grid.hash_table"]
    features = table.shape[-1]
    if features != model.features_per_level:
        _set_options(model, _FORMER_OPTIONS)  # 0.3.2
    elif features == 2 and model.base_res != 16:
        raise SA3DError(
            f"the config.yml of the run has base_res {model.base_res}, which Nerfstudio 0.3.2 did "
            "not use and 0.3.3 did, and the weights do not tell which it was; set it to 16 if it "
            "was 0.3.2, else train again"
        )
    for key in list(made):
        new = key.replace("field.mlp_base_grid.", f"{_FIELD}.0.")
        new = new.replace("field.mlp_base_mlp.", f"{_FIELD}.1.")
        if new != key:
            made[new] = made.pop(key)
            _drop_alias(made, new.replace(f"{_FIELD}.", "field.mlp_base."), made[new])
    return made


def _drop_alias(weights: dict[str, Tensor], alias: str, value: Tensor) -> None:
    found = weights.pop(alias, value)
    if found.shape != value.shape or not torch.equal(found, value):
        raise SA3DError(
            f"the weights {alias!r} differ from those they are a copy of; use a checkpoint written "
            "by ns-train"
        )


def _field_options() -> tuple[str, ...]:
    return ("num_levels", "max_res", "base_res", "log2_hashmap_size", "features_per_level")


def _proposal_options(model: Any, number: int) -> dict[str, Any]:
    every = model.proposal_net_args_list
    return {**_PROPOSAL_OPTIONS, **every[min(number, len(every) - 1)]}


def _grid(options: Mapping[str, Any]) -> HashGridConfig:
    levels, first, last = (options[name] for name in ("num_levels", "base_res", "max_res"))
    growth = float(np.exp((np.log(last) - np.log(first)) / (levels - 1))) if levels > 1 else 1.0
    return HashGridConfig.from_dict(
        {
            "n_levels": levels,
            "n_features_per_level": options["features_per_level"],
            "log2_hashmap_size": options["log2_hashmap_size"],
            "base_resolution": first,
            "per_level_scale": growth,
        }
    )


def _shapes(width: int, layers: int, outputs: int, grid: HashGridConfig) -> dict[int, LayerShapes]:
    options = {"n_neurons": width, "n_hidden_layers": layers - 1}
    return possible_shapes(NetworkConfig.from_dict(options, grid.outputs, outputs, fill=0.0))


def _set_options(model: Any, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        setattr(model, name, value)


def _check_buffers(weights: Mapping[str, Tensor], model: Any) -> None:
    """Check the sizes that a checkpoint states against the config.

    Raises:
        SA3DError: they are missing, or differ.
    """
    for name in ("max_res", "num_levels", "log2_hashmap_size"):
        if f"field.{name}" not in weights:
            raise SA3DError(
                f"the checkpoint lacks 'field.{name}': it was written by Nerfstudio 0.1.18 or "
                "older, whose fields had a density outside of their grid; train again"
            )
    for key, value in weights.items():
        found = re.fullmatch(
            r"(?:field|proposal_networks\.(\d+))\.(max_res|num_levels|log2_hashmap_size)", key
        )
        if found:
            number, name = found.groups()
            of_field = number is None
            stated = (
                getattr(model, name) if of_field else _proposal_options(model, int(number))[name]
            )
            if value.numel() != 1 or int(value) != stated:
                raise SA3DError(
                    f"the checkpoint has {key} {value.tolist()}, its config.yml {stated}; restore "
                    "the config.yml of the training"
                )


def current_poses(adjustments: Tensor, camera_to_worlds: Tensor, photos_by_name: bool) -> Tensor:
    """Return pose adjustments of Nerfstudio up to 0.3.4 as those of 1.0.0 to 1.1.5.

    Args:
        adjustments: [N, 6], translation and rotation in the frame of each camera.
        camera_to_worlds: [N, 3, 4], of the photos trained on.
        photos_by_name: False if the photos may have had other numbers in the training.

    Returns:
        [N, 6], in the world frame.

    Raises:
        SA3DError: the photos had other numbers, or a camera's axes are not a rotation.
    """
    if not photos_by_name:
        raise SA3DError(
            "training moved the cameras, and which adjustment belongs to which photo is not known: "
            "Nerfstudio numbered photos as they stand in the data's file, where they are not "
            f"sorted, and sorts them now; {_WITHOUT_POSES}"
        )
    axes = camera_to_worlds[:, :3, :3].double()
    if adjustments.shape != (len(axes), 6):
        raise SA3DError(
            f"the weights {FORMER_POSES!r} have the shape {list(adjustments.shape)}, the data has "
            f"{len(axes)} photos to train on; give 'data': the data set of the training"
        )
    squared = axes @ axes.transpose(1, 2)
    identity = torch.eye(3, dtype=axes.dtype, device=axes.device)
    if not torch.allclose(squared, identity.expand_as(squared), atol=1e-3) or bool(
        (torch.linalg.det(axes) < 0).any()
    ):
        raise SA3DError(
            "training moved the cameras, and the axes of a camera of the data are not a rotation, "
            f"so that the movement cannot be expressed in the world frame; {_WITHOUT_POSES}"
        )
    both = adjustments.double().view(-1, 2, 3) @ axes.transpose(1, 2)
    return both.reshape(-1, 6).to(adjustments.dtype)


def photos_are_by_name(data: Path) -> bool:
    """Return whether the photos of a ``transforms.json`` are sorted by name.

    Args:
        data: the folder of the data, or the file.
    """
    file = data if data.suffix == ".json" else data / "transforms.json"
    frames = read_json(file, remedy="restore it")["frames"]
    paths = [PurePosixPath(frame["file_path"]) for frame in frames]
    return paths == sorted(paths)


def adopt(
    pipeline: Any, weights: Mapping[str, Tensor], camera_to_worlds: Tensor, data: Path
) -> dict[str, Tensor]:
    """Return a run's weights as Nerfstudio 1.0.0 to 1.1.5 has them, and fit the config to them.

    Args:
        pipeline: the run's pipeline config; the model's options are set to what the weights were
            trained with.
        weights: of the model, and ``FORMER_POSES``.
        camera_to_worlds: [N, 3, 4], of the photos trained on.
        data: folder of the photos and cameras.

    Returns:
        The model's weights, by key. Those of other models than nerfacto are as they were.

    Raises:
        SA3DError: see ``current_layout`` and ``current_poses``.
    """
    found = dict(weights)
    poses = found.pop(FORMER_POSES, None)
    model = pipeline.model
    if not hasattr(model, "proposal_net_args_list"):
        return found
    made = current_layout(found, model)
    former = getattr(pipeline.datamanager, "camera_optimizer", None)
    is_former = former is not None or poses is not None or made.keys() != found.keys()
    if POSES in made or not is_former:
        return made
    if poses is None or (former is not None and former.mode == "off"):
        model.camera_optimizer.mode = "off"
        return made
    if former is None:
        raise SA3DError(
            f"the checkpoint has {FORMER_POSES!r}, its config.yml no camera_optimizer of the data "
            "manager; restore the config.yml of the training"
        )
    model.camera_optimizer.mode = former.mode
    parser = type(getattr(pipeline.datamanager, "dataparser", None)).__name__
    by_name = parser != "ColmapDataParserConfig"
    if parser == "NerfstudioDataParserConfig" and not _is_newer_than_032(found):
        by_name = photos_are_by_name(data)
    made[POSES] = current_poses(poses, camera_to_worlds, by_name)
    return made


def _is_newer_than_032(weights: Mapping[str, Tensor]) -> bool:
    """Return whether weights are certainly of 0.3.3 or newer; those of torch do not tell."""
    if "field.mlp_base_grid.tcnn_encoding.params" in weights:
        return "field.mlp_base_grid.hash_table" not in weights
    return any(key.startswith(f"{_FIELD}.") for key in weights)


def check_keys(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check that the weights are those of the model.

    Raises:
        RuntimeError: they are not; the first key that is missing and the first that is unexpected
            are named.
    """
    unexpected = [key for key in weights if key not in expected]
    missing = [key for key in expected if key not in weights]
    problems = [
        f"{name} {keys[0]!r}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
        for name, keys in (("unexpected weights", unexpected), ("missing weights", missing))
        if keys
    ]
    if problems:
        raise RuntimeError(", ".join(problems))
