"""Class paths in users' ``config.yml``: Nerfstudio finds classes by them, so they must stay."""

import re

import pytest
import yaml
from nerfstudio.models.nerfacto import NerfactoModelConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig

from nerfstudio_plugin.exports.field_export import MaskedFieldConfig
from nerfstudio_plugin.exports.masked_model import MaskedNerfactoModelConfig
from nerfstudio_plugin.runs.datamanager import SA3DDataManagerConfig
from nerfstudio_plugin.train.config import sa3d_method

EXPORTED_FIELD = [
    "nerfstudio_plugin.exports.field_export.MaskedFieldConfig",
    "nerfstudio_plugin.exports.masked_model.MaskedNerfactoModel",
    "nerfstudio_plugin.exports.masked_model.MaskedNerfactoModelConfig",
    "nerfstudio_plugin.runs.datamanager.SA3DDataManager",
    "nerfstudio_plugin.runs.datamanager.SA3DDataManagerConfig",
]
SEGMENTATION = [
    "nerfstudio_plugin.fields.config.FieldsConfig",
    "nerfstudio_plugin.runs.datamanager.SA3DDataManager",
    "nerfstudio_plugin.runs.datamanager.SA3DDataManagerConfig",
    "nerfstudio_plugin.train.config.SA3DTrainerConfig",
    "nerfstudio_plugin.train.model.SA3DModel",
    "nerfstudio_plugin.train.model.SA3DModelConfig",
    "nerfstudio_plugin.train.pipeline.SA3DPipeline",
    "nerfstudio_plugin.train.pipeline.SA3DPipelineConfig",
    "sa3d.loop.config.ConvergenceConfig",
    "sa3d.loop.config.LoopConfig",
    "sa3d.scene.config.PrepareConfig",
    "sa3d.search.config.WordsConfig",
    "sa3d.voting.config.SelfPromptConfig",
]


def exported_field():
    model = MaskedNerfactoModelConfig.of(NerfactoModelConfig(), "object")
    pipeline = VanillaPipelineConfig(datamanager=SA3DDataManagerConfig(), model=model)
    return MaskedFieldConfig(method_name="nerfacto", pipeline=pipeline)


@pytest.mark.parametrize(
    ("config", "paths"), [(sa3d_method.config, SEGMENTATION), (exported_field(), EXPORTED_FIELD)]
)
def test_class_paths_stay(config, paths):
    text = yaml.dump(config)  # as Nerfstudio's trainer writes config.yml
    tags = re.findall(r"!!python/[a-z/]+:([\w.]+)", text)
    assert sorted({tag for tag in tags if tag.startswith(("sa3d", "nerfstudio_plugin"))}) == paths
    assert type(yaml.load(text, Loader=yaml.Loader)) is type(config)
