import json
import pickle
import re
import shutil
import socket
import zipfile
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch
import yaml
from nerfstudio.configs.method_configs import method_configs
from PIL import Image

from nerfstudio_plugin.fields.registry import METHODS
from nerfstudio_plugin.runs.model_building import without_lpips
from nerfstudio_plugin.runs.opening import open_run
from sa3d.base.errors import SA3DError
from sa3d.scene.views import find_view


def edit(config, old, new):
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def checkpoint_of(config):
    return next((config.parent / "nerfstudio_models").glob("*.ckpt"))


def edit_checkpoint(config, change):
    path = checkpoint_of(config)
    content = torch.load(path, weights_only=False)
    change(content)
    path.unlink()
    torch.save(content, path)


def rewrite_pickle(path, old, new):
    """As another numpy would have pickled it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (name,) = [name for name in members if name.endswith("data.pkl")]
    members[name], count = re.subn(old, new, members[name])
    assert count
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def refusal(config, **options):
    with pytest.raises(SA3DError) as caught:
        open_run(config, device="cpu", **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_opens_a_run_trained_by_nerfstudio(tiny_run, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("no downloads"))
    stored = torch.load(checkpoint_of(tiny_run), weights_only=False)["pipeline"]
    assert any("lpips" in key for key in stored), "the trap this test is for is gone"
    run = open_run(tiny_run, device="cpu")
    assert [view.name for view in run.views] == [f"frame_{n:03d}.png" for n in range(8)]
    assert [view.camera.index for view in run.views] == [-1, 0, 1, 2, -1, 3, 4, 5]
    assert run.checkpoint_path == checkpoint_of(tiny_run)
    assert run.data == tiny_run.parents[4] / "data"
    assert run.dataparser_transform.shape == (3, 4)
    assert run.dataparser_scale == pytest.approx(1 / 3, rel=0.1)
    loaded = run.model.state_dict()
    assert not any(key.startswith("lpips") for key in loaded)
    for key, value in loaded.items():
        assert torch.equal(value, stored[f"_model.{key}"]), key
    assert not run.model.training
    assert not any(parameter.requires_grad for parameter in run.model.parameters())
    first = run.views[0]
    assert first.camera.distortion == pytest.approx((0.05, -0.02, 0, 0, 0.001, -0.002))
    assert first.image().shape == (first.camera.height, first.camera.width, 3)
    accumulation = run.field.render(first.camera.image_rays()).accumulation
    assert accumulation.shape == (24 * 32,)


def test_a_folder_opens_its_config(tiny_run):
    assert open_run(tiny_run.parent, device="cpu").load_config == tiny_run


def test_training_cameras_are_the_refined_ones(tiny_run):
    run = open_run(tiny_run, device="cpu")
    corrections = run.model.camera_optimizer.get_correction_matrices()
    assert (corrections[:, :, 3].abs().amax(1) > 1e-3).all()
    edit_checkpoint(
        tiny_run,
        lambda content: content["pipeline"]["_model.camera_optimizer.pose_adjustment"].zero_(),
    )
    for moved, original in zip(run.views, open_run(tiny_run, device="cpu").views, strict=True):
        index, shift = moved.camera.index, moved.camera.position - original.camera.position
        expected = torch.zeros(3) if index < 0 else corrections[index, :, 3]
        torch.testing.assert_close(shift, expected, atol=1e-6, rtol=0)


def test_weights_on_disk_stay_as_they_are(tiny_run):
    before = checkpoint_of(tiny_run).read_bytes()
    open_run(tiny_run, device="cpu").field.density(torch.zeros(1, 3))
    assert checkpoint_of(tiny_run).read_bytes() == before


def test_a_run_may_move_as_a_whole(tiny_run, tmp_path):
    moved = tmp_path / "somewhere" / "else"
    shutil.move(tiny_run.parent, moved)
    shutil.move(tmp_path / "data", tmp_path / "photos")
    message = refusal(moved)
    assert "'data'" in message
    assert str(tmp_path / "somewhere/data") in message
    assert len(open_run(moved, data=tmp_path / "photos", device="cpu").views) == 8
    assert "does not exist" in refusal(moved, data=tmp_path / "nowhere")


def test_the_latest_or_a_named_checkpoint(tiny_run):
    latest = checkpoint_of(tiny_run)
    older = shutil.copy(latest, latest.with_name("step-000000001.ckpt"))
    (latest.parent / "notes.ckpt").write_text("no checkpoint")
    assert open_run(tiny_run, device="cpu").checkpoint_path == latest
    assert open_run(tiny_run, device="cpu", step=1).checkpoint_path == older
    assert "there are: 1, 2" in refusal(tiny_run, step=7)


def test_no_checkpoint(tiny_run):
    checkpoint_of(tiny_run).unlink()
    assert "no checkpoint" in refusal(tiny_run)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_checkpoint(tiny_run, share):
    path = checkpoint_of(tiny_run)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged or cut short" in refusal(tiny_run)


class Stranger:
    """Anything a checkpoint has no business to hold."""


def test_checkpoints_cannot_run_code(tiny_run):
    edit_checkpoint(tiny_run, lambda content: content.update(extra=Stranger()))
    assert "could run code" in refusal(tiny_run)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_scalars_in_the_optimizer_state_load(tiny_run, module):
    rates = [kind(0.5) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    edit_checkpoint(tiny_run, lambda content: content["schedulers"].update(rates=rates))
    path = checkpoint_of(tiny_run)
    rewrite_pickle(path, rb"cnumpy\._?core\.multiarray\n", f"c{module}\n".encode())
    with pytest.raises(pickle.UnpicklingError, match=module.replace(".", r"\.")):
        torch.load(path, weights_only=True)
    assert open_run(tiny_run, device="cpu").views


def test_weights_that_do_not_fit_are_named(tiny_run):
    def rename(content):
        state = content["pipeline"]
        state["_model.field.new_part"] = state.pop("_model.field.mlp_head.layers.0.bias")

    edit_checkpoint(tiny_run, rename)
    message = refusal(tiny_run)
    assert "field.new_part" in message
    assert "Nerfstudio version" in message


def test_distributed_training_prefixes_are_dropped(tiny_run):
    def prefix(content):
        state = content["pipeline"]
        content["pipeline"] = {
            key.replace("_model.", "_model.module."): value for key, value in state.items()
        }

    edit_checkpoint(tiny_run, prefix)
    assert open_run(tiny_run, device="cpu").views


def test_tcnn_weights_that_do_not_fit_are_refused_by_name(tiny_run):
    def as_tcnn(content):
        state = content["pipeline"]
        for key in [key for key in state if "mlp_base" in key or "encoding" in key]:
            del state[key]
        state["_model.field.mlp_base.model.params"] = torch.zeros(10)

    edit_checkpoint(tiny_run, as_tcnn)
    assert "field.direction_encoding.tcnn_encoding.params" in refusal(tiny_run)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(tiny_run):
    with pytest.raises(SA3DError, match="no CUDA GPU"):
        open_run(tiny_run, device="cuda")


def test_missing_config(tmp_path):
    assert "does not exist" in refusal(tmp_path / "config.yml")


def test_truncated_config(tiny_run):
    lines = tiny_run.read_text().splitlines(keepends=True)
    for count in (0, 1, 5, len(lines) // 2, len(lines) - 1):
        tiny_run.write_text("".join(lines[:count]))
        assert str(tiny_run) in refusal(tiny_run)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        ("{", "not a config.yml this Nerfstudio can read"),
        ("just: words", "found dict"),
        ("!!python/object:nerfstudio.engine.trainer.NoSuchConfig {}", "NoSuchConfig"),
        ("!!python/object:nowhere.Config {}", "nowhere.Config"),
        ("!!python/object/apply:os.system [exit 3]", "not of Nerfstudio or a plugin"),
        ("!!python/object/apply:nerfstudio.utils.scripts.run_command [id]", "not a config class"),
        ("!!python/object/apply:torch.hub.load [a, b]", "not of Nerfstudio or a plugin"),
        ("!!python/module:os ''", "may not name the module 'os'"),
        ("!!python/object:nerfstudio.engine.trainer.TrainerConfig 3", "expected a mapping"),
    ],
)
def test_malformed_config(tmp_path, spoilt, reason):
    config = tmp_path / "config.yml"
    config.write_text(spoilt)
    assert reason in refusal(config)


def test_binary_config(tmp_path):
    config = tmp_path / "config.yml"
    config.write_bytes(bytes(range(256)))
    assert "cannot be read" in refusal(config)


def test_paths_from_windows(tiny_run):
    edit(tiny_run, "pathlib.PosixPath", "pathlib.WindowsPath")
    assert open_run(tiny_run, device="cpu").views


@pytest.mark.parametrize("method", sorted(method_configs))
def test_every_method_opens_or_is_refused_by_name(method, tmp_path):
    import yaml

    config = tmp_path / "config.yml"
    config.write_text(yaml.dump(method_configs[method]))
    message = refusal(config)
    if any(method in known.names for known in METHODS):
        assert "no checkpoint" in message
    elif method == "dnerf":  # of vanilla-nerf's model, with an option
        assert "moves with time" in message
    else:
        assert "nerfacto-huge" in message


def test_missing_photos(tiny_run, tmp_path):
    (tmp_path / "data/images/frame_003.png").unlink()
    assert "frame_003.png" in refusal(tiny_run)


def test_broken_photo(tiny_run, tmp_path):
    (tmp_path / "data/images/frame_003.png").write_text("no image")
    assert "frame_003.png" in refusal(tiny_run)


def test_broken_data(tiny_run, tmp_path):
    (tmp_path / "data/transforms.json").write_text("{")
    assert "cannot be read" in refusal(tiny_run)
    (tmp_path / "data/transforms.json").unlink()
    assert "transforms.json" in refusal(tiny_run)


def test_other_data_than_the_trainings(tiny_run, tmp_path):
    transforms = tmp_path / "data/transforms.json"
    original = transforms.read_text()
    edit_json(transforms, lambda meta: meta["frames"][1]["transform_matrix"][0].__setitem__(3, 9))
    assert "not those the run was trained on" in refusal(tiny_run)
    transforms.write_text(original)
    edit_json(transforms, lambda meta: meta["frames"].pop())
    (tiny_run.parent / "dataparser_transforms.json").unlink()
    assert "trained on 6 photos" in refusal(tiny_run)


def test_fisheye_data(tiny_run, tmp_path):
    edit_json(
        tmp_path / "data/transforms.json", lambda meta: meta.update(camera_model="OPENCV_FISHEYE")
    )
    assert "perspective" in refusal(tiny_run)


def shrink(images, factor):
    smaller = images.with_name(f"images_{factor}")
    smaller.mkdir()
    for path in images.iterdir():
        with Image.open(path) as image:
            size = (image.width // factor, image.height // factor)
            image.resize(size).save(smaller / path.name)


def test_a_run_trained_on_smaller_photos_opens_at_full_size(tiny_run, tmp_path):
    full = open_run(tiny_run, device="cpu")
    shrink(tmp_path / "data/images", 2)
    edit(tiny_run, "downscale_factor: null", "downscale_factor: 2")
    for view, expected in zip(open_run(tiny_run, device="cpu").views, full.views, strict=True):
        assert view.image_path == expected.image_path
        assert (view.camera.fx, view.camera.width) == (expected.camera.fx, 32)
    shutil.rmtree(tmp_path / "data/images")
    view = open_run(tiny_run, device="cpu").views[0]
    assert view.image_path.parent.name == "images_2"
    assert (view.camera.fx, view.camera.width, view.camera.height) == (15.0, 16, 12)
    assert view.image().shape == (12, 16, 3)


def test_cameras_follow_the_files_size(tiny_run, tmp_path):
    path = tmp_path / "data/images/frame_000.png"
    Image.new("RGB", (64, 48)).save(path)
    camera = open_run(tiny_run, device="cpu").views[0].camera
    assert (camera.fx, camera.cx, camera.width, camera.height) == (60.0, 31.0, 64, 48)
    Image.new("RGB", (48, 64)).save(path)
    assert "not the same shape" in refusal(tiny_run)


def test_transparent_photos_get_the_trainings_background(tiny_run, tmp_path):
    path = tmp_path / "data/images/frame_000.png"
    Image.new("RGBA", (32, 24), (200, 100, 0, 51)).save(path)
    pixel = open_run(tiny_run, device="cpu").views[0].image()[0, 0]
    assert pixel.tolist() == [40, 20, 0]
    edit(tiny_run, "background_color: last_sample", "background_color: white")
    pixel = open_run(tiny_run, device="cpu").views[0].image()[0, 0]
    assert pixel.tolist() == [244, 224, 204]


def test_building_without_lpips_restores_it():
    import torchmetrics.image.lpip as module

    original = module.LearnedPerceptualImagePatchSimilarity
    with without_lpips():
        stand_in = module.LearnedPerceptualImagePatchSimilarity(normalize=True)
    assert module.LearnedPerceptualImagePatchSimilarity is original
    with pytest.raises(SA3DError, match="ns-eval"):
        stand_in(torch.zeros(1), torch.zeros(1))


def test_opens_real_runs(shared_run):
    config, data = shared_run
    run = open_run(config, data=data, device="cpu")
    frames = json.loads((data / "transforms.json").read_text())["frames"]
    assert len(run.views) == len(frames)
    assert open_run(config, device="cpu").data.resolve() == data.resolve()
    view = find_view(run.views, frames[3]["file_path"])
    assert view.image().shape == (view.camera.height, view.camera.width, 3)
    assert len(run.field.fingerprint) == 64


# Files of a run that others may have made.


def flip_a_bit(path, share):
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_a_flipped_bit_in_a_checkpoint_is_noticed(tiny_run, share):
    flip_a_bit(checkpoint_of(tiny_run), share)
    assert "damaged or cut short" in refusal(tiny_run)


def test_a_compressed_checkpoint_is_refused(tiny_run):
    path = checkpoint_of(tiny_run)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "compressed" in refusal(tiny_run)


def test_weights_that_are_not_finite_are_named(tiny_run):
    name = "_model.field.mlp_head.layers.0.weight"
    edit_checkpoint(tiny_run, lambda content: content["pipeline"][name].fill_(float("nan")))
    assert "'field.mlp_head.layers.0.weight' hold NaN" in refusal(tiny_run)


def test_short_memory_is_told_as_such(tiny_run, monkeypatch):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("nerfstudio.models.nerfacto.NerfactoModel.load_state_dict", fail)
    assert "too little memory to open the run" in refusal(tiny_run)


@pytest.mark.parametrize(
    "content",
    [
        *("[]", '"x"', "3", "{}", '{"frames": []}', '{"frames": 3}', "[" * 9999 + "]" * 9999),
        *('{"frames": [{}]}', '{"frames": [[]]}', '{"frames": [{"file_path": 3}]}', "\udcff"),
    ],
)
def test_transforms_of_another_shape(tiny_run, tmp_path, content):
    (tmp_path / "data/transforms.json").write_bytes(content.encode("utf8", "surrogateescape"))
    assert "cameras of" in refusal(tiny_run)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("fl_x", 0), ("fl_x", float("nan")), ("w", 0), ("w", 10**9), ("h", -3), ("k1", "x")),
        *(("fl_x", "1" * 400), ("cx", None), ("transform_matrix", [[1]])),
        *(("transform_matrix", [[0, 0, 0, 0]] * 4), ("transform_matrix", [[1e400] * 4] * 4)),
    ],
)
def test_cameras_that_cannot_be(tiny_run, tmp_path, key, value):
    def change(content):
        for one in (content, *content["frames"]):
            if key in one or (one is content and key != "transform_matrix"):
                one[key] = value

    edit_json(tmp_path / "data/transforms.json", change)
    assert "camera" in refusal(tiny_run)


def test_a_dataparser_that_unpickles_is_refused(tiny_run):
    import yaml
    from nerfstudio.data.dataparsers.minimal_dataparser import MinimalDataParserConfig

    from nerfstudio_plugin.runs.config_file import read_run_config

    config = read_run_config(tiny_run)
    vars(config.pipeline.datamanager)["dataparser"] = MinimalDataParserConfig()
    tiny_run.write_text(yaml.dump(config))
    assert "can run code" in refusal(tiny_run)


# Runs as they are found.


def test_a_folder_above_the_run_opens_it(tiny_run, tmp_path):
    assert open_run(tmp_path / "outputs", device="cpu").load_config == tiny_run


def name_data(config, data):
    """Let the run name its data as an absolute path of another computer."""
    content = yaml.load(config.read_text(), Loader=yaml.UnsafeLoader)
    content.data = content.pipeline.datamanager.data = data
    vars(content.pipeline.datamanager)["dataparser"].data = data
    config.write_text(yaml.dump(content).replace("PosixPath", type(data).__name__.lstrip("Pure")))


@pytest.mark.parametrize(
    "data",
    [PurePosixPath("/home/ann/nerf/data"), PureWindowsPath(r"C:\Users\ann\nerf\data")],
)
def test_a_run_from_another_computer_finds_its_photos(tiny_run, tmp_path, data, caplog):
    name_data(tiny_run, data)
    (tiny_run.parents[1] / "data").mkdir()  # has the name, and no photos
    assert open_run(tiny_run, device="cpu").data == tmp_path / "data"
    assert str(tmp_path / "data") in caplog.text
    shutil.move(tmp_path / "data", tmp_path / "photos")
    assert "'data'" in refusal(tiny_run)


def test_separators_of_windows(tiny_run, tmp_path):
    (tmp_path / "inner").mkdir()
    shutil.move(tmp_path / "data", tmp_path / "inner")
    text = tiny_run.read_text()
    path = "!!python/object/apply:pathlib.WindowsPath\n{0}- inner\\data"
    written, count = re.subn(
        r"!!python/object/apply:pathlib\.PosixPath\n( *)- data\b",
        lambda found: path.format(found[1]),
        text,
    )
    assert count
    tiny_run.write_text(written)
    assert open_run(tiny_run, device="cpu").data == tmp_path / "inner/data"


def test_data_named_by_its_transforms_file(tiny_run, tmp_path):
    run = open_run(tiny_run, data=tmp_path / "data/transforms.json", device="cpu")
    assert len(run.views) == 8


def test_photos_that_are_there_in_another_size_only(tiny_run, tmp_path):
    shrink(tmp_path / "data/images", 4)
    shutil.rmtree(tmp_path / "data/images")
    assert {view.image_path.parent.name for view in open_run(tiny_run, device="cpu").views} == {
        "images_4"
    }
    (tmp_path / "data/images_4/frame_003.png").unlink()
    assert refusal(tiny_run).startswith("1 photos")


def test_a_checkpoint_being_written_leaves_the_one_before(tiny_run, caplog):
    whole = checkpoint_of(tiny_run)
    content = whole.read_bytes()
    for written in (b"", content[: len(content) // 2]):
        newer = whole.with_name("step-000009999.ckpt")
        newer.write_bytes(written)
        caplog.clear()
        assert open_run(tiny_run, device="cpu").checkpoint_path == whole
        assert str(newer) in caplog.text
        assert "damaged or cut short" in refusal(tiny_run, step=9999)


def test_prefixes_of_distributed_training_around_the_pipeline(tiny_run):
    def wrap(content):
        content["pipeline"] = {f"module.{key}": value for key, value in content["pipeline"].items()}

    edit_checkpoint(tiny_run, wrap)
    assert open_run(tiny_run, device="cpu").views


def test_weights_alone_are_a_checkpoint(tiny_run):
    def strip(content):
        for key in list(content):
            if key != "pipeline":
                del content[key]

    edit_checkpoint(tiny_run, strip)
    assert open_run(tiny_run, device="cpu").views


def test_a_checkpoint_in_the_format_before_archives(tiny_run):
    path = checkpoint_of(tiny_run)
    content = torch.load(path, weights_only=False)
    path.unlink()
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert open_run(tiny_run, device="cpu").views
