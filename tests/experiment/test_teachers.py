"""Teachers that are trained here: what can go wrong between a training and its use."""

import pytest

from kdjax import experiment
from kdjax.experiment import plan
from tests import tiny


def test_a_result_that_is_not_accepted_is_not_trained_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "damage", lambda result: "is odd")
    config = tiny.config(methods=("student",), epochs=1)
    config.teacher.epochs = 1
    with pytest.raises(RuntimeError, match=r"teacher/seed0 was trained, and what it left is not accepted"):
        experiment.run(config, tmp_path)
