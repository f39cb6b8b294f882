import pytest

from sa3d.base.errors import SA3DError
from sa3d.loop.settings import Settings, load_settings, preset_files


def test_default_preset_changes_nothing():
    assert load_settings("default") == Settings()


def test_presets_are_there_and_load():
    assert set(preset_files()) == {"default", "unbounded", "forward_facing", "demo"}
    for name in preset_files():
        load_settings(name)
    assert load_settings("unbounded").prepare.resolution > Settings().prepare.resolution


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[loop]\nmin_agrement = 0.4", "unknown key 'loop.min_agrement'"),
        ("[lop]\nlam = 1.0", "unknown key 'lop'"),
        ("[loop.convergence]\nrounds = 3", "unknown key 'loop.convergence.rounds'"),
        ("loop = 3", "'loop' is a table"),
        ("[prepare]\nresolution = 'fine'", "'prepare.resolution' must be int, is 'fine'"),
        ("[prepare]\nresolution = true", "'prepare.resolution' must be int"),
        ("[loop]\nfolds = 1", "mine.toml': loop.folds must be 0 or at least 2, is 1"),
        ("[loop.convergence]\nmax_rounds = -4", "mine.toml': loop.convergence.max_rounds must be"),
        ("[prepare\n", "not valid TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SA3DError) as caught:
        load_settings(str(path))
    assert words in str(caught.value)


def test_whole_numbers_serve_as_floats(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[loop]\nlam = 2\n")
    assert load_settings(str(path)).loop.lam == 2


def test_unknown_preset_lists_the_known():
    with pytest.raises(SA3DError, match="forward_facing"):
        load_settings("foward_facing")
