"""Loading weights of SAM and its relatives, and the errors if that fails."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import errors

from sa3d.base.errors import SA3DError
from sa3d.segmenters.loading import load_segmenter
from sa3d.segmenters.sam import loading as sam_loading
from sa3d.segmenters.sam.loading import load_sam

Weights = Callable[[str], Path]
ANSWER = httpx.Response(403, request=httpx.Request("HEAD", "https://hub.example"))

HUB_ERRORS = {
    "offline": (errors.OfflineModeIsEnabled("offline mode"), "hf download some/sam --local-dir"),
    "no network": (httpx.ConnectError("no route to host"), "the hub cannot be reached .*ConnectE"),
    "slow": (httpx.ConnectTimeout("timed out"), "where there is a network: hf download"),
    "server": (errors.HfHubHTTPError("500", response=ANSWER), "cannot be reached .*HfHubHTTPErr"),
    "gated": (errors.GatedRepoError("403", response=ANSWER), "on request only.*hf auth login"),
    "no such": (errors.RepositoryNotFoundError("404", response=ANSWER), "the hub has no some/sam"),
}


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "sam"))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], Path]:
    """Return a function that puts a folder's files into the hub's cache, like a download."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(hub_id: str, folder: Path) -> Path:
        repository = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("abc")
        return Path(shutil.copytree(folder, repository / "snapshots" / "abc"))

    return put


@pytest.mark.parametrize("step", ["get_hf_file_metadata", "snapshot_download"])
@pytest.mark.parametrize("problem", HUB_ERRORS)
def test_hub_problems(problem: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, message = HUB_ERRORS[problem]

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, step, fail)
    with pytest.raises(SA3DError, match=message) as caught:
        load_sam("some/sam")
    assert "segmenter='graphcut'" in str(caught.value)


def test_a_missing_network_is_reported_at_once() -> None:
    start = time.monotonic()
    with pytest.raises(SA3DError, match="hf download nobody/nothing"):
        load_sam("nobody/nothing")
    assert time.monotonic() - start < 20


def test_a_downloaded_model_needs_no_network(
    hub_cache: Callable[[str, Path], Path], tiny_sam2: Path
) -> None:
    hub_cache("facebook/sam2.1-hiera-tiny", tiny_sam2)
    assert load_segmenter("sam2.1-tiny").name.startswith("sam2.1-tiny:")
    assert load_sam("facebook/sam2.1-hiera-tiny").name.startswith("sam2.1-tiny:")


def test_an_incomplete_download_is_completed(
    hub_cache: Callable[[str, Path], Path], tiny_sam2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = hub_cache("some/sam", tiny_sam2)
    (snapshot / "model.safetensors").unlink()

    def download(*_: object, **__: object) -> str:
        shutil.copy(tiny_sam2 / "model.safetensors", snapshot)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load_sam("some/sam").name.startswith("some/sam:")


@pytest.mark.parametrize("lost", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_file_is_missing(lost: str, tiny_sam: Path, tmp_path: Path) -> None:
    folder = copy(tiny_sam, tmp_path)
    (folder / lost).unlink()
    with pytest.raises(SA3DError, match=f"{lost} missing.* hf download HUB_ID --local-dir"):
        load_sam(str(folder))


def test_a_shard_is_missing(tiny_sam: Path, tmp_path: Path) -> None:
    folder = copy(tiny_sam, tmp_path)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(SA3DError, match=r"loaded: model-00002-of-00002\.safetensors miss"):
        load_sam(str(folder))


@pytest.mark.parametrize("kept", [0, 100, 200_000])
def test_a_truncated_weights_file(kept: int, tiny_sam: Path, tmp_path: Path) -> None:
    folder = copy(tiny_sam, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(SA3DError, match=r"half downloaded.* Get them again: hf download"):
        load_sam(str(folder))


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_config(content: str, tiny_sam: Path, tmp_path: Path) -> None:
    folder = copy(tiny_sam, tmp_path)
    (folder / "config.json").write_text(content)
    with pytest.raises(SA3DError, match=r"config\.json"):
        load_sam(str(folder))


def test_weights_that_transformers_would_initialise(tiny_sam: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy(tiny_sam, tmp_path)
    state = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in state.items() if "neck" not in name}
    assert len(kept) < len(state)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SA3DError, match=r"are missing, such as vision_encoder\.neck"):
        load_sam(str(folder))


def test_weights_of_another_size(tiny_sam: Path, tmp_path: Path) -> None:
    folder = copy(tiny_sam, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"] |= {"mlp_dim": 48}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SA3DError, match="do not match config"):
        load_sam(str(folder))


def test_another_architecture(tiny_sam: Path, tmp_path: Path) -> None:
    folder = copy(tiny_sam, tmp_path)
    (folder / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(SA3DError, match=r"'vit' model.* sam3_tracker.*sa3d segmenters"):
        load_sam(str(folder))


@pytest.mark.parametrize("name", ["model.safetensors", "my_sam.safetensors"])
def test_a_weights_file_beside_its_config(name: str, tiny_sam2: Path, tmp_path: Path) -> None:
    folder = copy(tiny_sam2, tmp_path)
    (folder / "model.safetensors").rename(folder / name)
    segmenter = load_segmenter(str(folder / name))
    digest = load_sam(str(tiny_sam2)).name.split(":")[1]
    assert segmenter.name == f"{name.removesuffix('.safetensors')}:{digest}:float32"
    segmenter.set_image(np.zeros((20, 30, 3), np.uint8))


def test_an_original_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(b"PK")
    with pytest.raises(SA3DError, match=r"not in the format of transformers.*sam2\.1-tiny"):
        load_segmenter(str(tmp_path / "sam_vit_b_01ec64.pth"))


def test_too_little_memory_to_load(tiny_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import SamModel

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(SamModel, "from_pretrained", fail)
    with pytest.raises(SA3DError, match="too little memory to load"):
        load_sam(str(tiny_sam))


def test_too_little_gpu_memory_to_load(tiny_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", fail)
    with pytest.raises(SA3DError, match=r"too little memory to load .*device='cpu'"):
        load_sam(str(tiny_sam))


@pytest.mark.parametrize("timm", ["0.6.7", "0.9.16", None])
def test_edgetam_with_an_old_timm(
    timm: str | None, tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"timm": timm, "transformers": "5.23.0"}
    monkeypatch.setattr(sam_loading, "_installed", installed.get)
    with pytest.raises(SA3DError, match=r"EdgeTAM needs timm 1.0.*pip install 'timm>=1.0'"):
        load_sam(str(tiny_weights("edgetam")))


def test_without_transformers(tiny_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam_loading, "_installed", {}.get)
    with pytest.raises(SA3DError, match=r"pip install 'sa3d-nerfstudio\[sam\]'"):
        load_sam(str(tiny_sam))
