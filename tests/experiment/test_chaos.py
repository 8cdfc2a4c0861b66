"""The short form of scripts/chaos: a few kills, and the same bits."""

from tests import chaos


def test_killed_and_continued_to_the_same_bits(tmp_path):
    measured = chaos.chaos(tmp_path, kills=3, methods="noisy", epochs=1, seed=1)
    assert measured["kills"] == sum(measured["moments"].values()) == 3
    assert measured["runs_compared"] == 2 * measured["experiments"]
