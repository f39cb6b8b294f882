import math

import pytest

from sa3d.base.errors import SA3DError
from sa3d.loop.config import ConvergenceConfig, LoopConfig
from sa3d.voting.config import SelfPromptConfig


@pytest.mark.parametrize(
    ("kind", "name", "value", "words"),
    [
        (LoopConfig, "lam", 0.0, "^'loop.lam' must be above 0, is 0.0$"),
        (LoopConfig, "reach", math.inf, "must be at least 0, is inf"),
        (LoopConfig, "inertia", 5, "must be between -1 and 1, is 5"),
        (LoopConfig, "neighbours", 1.5, "must be a whole number, at least 0, is 1.5"),
        (ConvergenceConfig, "flip_tolerance", 5.0, "between -1 and 1, is 5.0"),
        (LoopConfig, "lam", math.nan, "must be above 0, is nan"),
        (LoopConfig, "neighbours", -4, "^'loop.neighbours' must be at least 0, is -4$"),
        (LoopConfig, "held_out", 1.5, "^'loop.held_out' must be between 0 and 1, is 1.5$"),
        (LoopConfig, "prior", math.nan, "'loop.prior' must be between 0 and 1, is nan"),
        (LoopConfig, "max_gap", -0.1, "'loop.max_gap' must be at least 0"),
        (ConvergenceConfig, "max_rounds", -4, "^'loop.convergence.max_rounds' must be at least 0"),
        (
            ConvergenceConfig,
            "warn_agreement",
            2.0,
            "'loop.convergence.warn_agreement' must be between 0 and 1",
        ),
        (SelfPromptConfig, "positive_points", -1, "^'loop.prompting.positive_points' must be at"),
    ],
)
def test_values_that_make_no_sense_are_refused(kind, name, value, words):
    with pytest.raises(SA3DError, match=words):
        kind(**{name: value})


def test_values_at_the_limits_are_taken():
    limits = {"lam": 1e-9, "neighbours": 0, "held_out": 1.0, "inertia": -1.0}
    LoopConfig(**limits, convergence=ConvergenceConfig(max_rounds=0, warn_agreement=0.0))
