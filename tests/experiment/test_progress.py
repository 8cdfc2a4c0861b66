"""The time that is left is that of steps, not of their compilation."""

import io

import pytest
from rich.console import Console

from kdjax.experiment import progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def shown(clock, seconds):
    """A display of 1,000 steps after steps that took so many seconds each."""
    display = progress.Display(Console(file=io.StringIO()))
    display.start("seed 0", 1000)
    for took in seconds:
        clock[0] += took
        display.advance(1)
    return display


def test_a_first_step_of_minutes_does_not_count(clock):
    assert shown(clock, [300.0]).left() is None
    assert shown(clock, [300.0, 2.0]).left() == pytest.approx(2.0 * 998)
    assert shown(clock, [300.0] + [0.01] * 499).left() == pytest.approx(0.01 * 500)


def test_the_rate_is_that_of_late(clock):
    display = shown(clock, [300.0] + [60.0] * 5 + [1.0] * 200)
    assert display.left() == pytest.approx(1000 - 206)


def test_a_log_says_so(clock):
    display = shown(clock, [300.0])
    display.status("step 1")
    display.advance(1)
    clock[0] += 30.0
    display.advance(1)
    display.status("step 2")
    assert display.console.file.getvalue().splitlines() == ["seed 0: 0 %, step 1", "seed 0: 0 %, step 2, 14955 s left"]
