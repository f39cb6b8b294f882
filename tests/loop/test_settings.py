from dataclasses import asdict

import pytest

from sa3d.base.errors import SA3DError
from sa3d.loop.config import LoopConfig
from sa3d.loop.settings import Settings, load_settings, preset_files, settings_from_dict


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
        ("loop = 3", "'loop' must be a table"),
        (
            "[prepare]\nresolution = 'fine'",
            "'prepare.resolution' must be a whole number, is 'f",
        ),
        ("[prepare]\nresolution = true", "'prepare.resolution' must be a whole number"),
        ("[loop]\nlam = 0", "mine.toml': 'loop.lam' must be above 0, is 0"),
        (
            "[loop.convergence]\nmax_rounds = -4",
            "mine.toml': 'loop.convergence.max_rounds' must be",
        ),
        ("[loop]\nlam = nan", "'loop.lam' must be a number, is nan"),
        ("[loop]\nreach = inf", "'loop.reach' must be a number, is inf"),
        ("[loop]\nneighbours = 1" + "0" * 400, "'loop.neighbours' must be at least 0, is 1000"),
        ("[loop]\nneighbours = 1" + "0" * 5000, "not valid TOML"),
        ("a = " + "[" * 10_000, "not valid TOML"),
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


def test_presets_written_by_earlier_versions_load(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[loop]\nfolds = 5\nlam = 2.0\n[loop.convergence]\nmin_trust = 0.9\n"
        "look_at = 0.7\nlook_beyond = 0.1\n"
    )
    loop = load_settings(str(path)).loop
    assert (loop.lam, loop.convergence.min_best_agreement) == (2.0, 0.9)
    assert (loop.convergence.warn_agreement, loop.convergence.warn_outside) == (0.7, 0.1)


def test_settings_saved_by_earlier_versions_load():
    saved = asdict(Settings(loop=LoopConfig(lam=2.0)))
    saved["loop"]["folds"] = 0
    del saved["loop"]["convergence"]["min_best_agreement"]
    saved["loop"]["convergence"]["min_trust"] = 0.5
    loop = settings_from_dict(saved, "notes").loop
    assert (loop.lam, loop.convergence.min_best_agreement) == (2.0, 0.5)
