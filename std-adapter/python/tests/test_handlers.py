"""The handlers alone and in a plain loop, without Ignite. The traces test their decisions."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest
from training_monitor.handlers import EarlyStopping, TerminateOnNan, TimeLimit, Timer


class Engine:
    """An engine of a program without Ignite."""

    def __init__(self) -> None:
        self.terminated = False
        self.handlers: list[tuple[object, object]] = []
        self.state = self
        self.output: object = None

    def terminate(self) -> None:
        self.terminated = True

    def add_event_handler(self, event: object, handler: object) -> None:
        self.handlers.append((event, handler))


def test_a_loop_stops_early() -> None:
    weight, stopping, guard, steps = 8.0, EarlyStopping(patience=2, mode="min"), TerminateOnNan(), 0
    while True:
        loss = max(weight**2, 1.0)
        if guard.update(loss) or stopping.update(loss):
            break
        weight, steps = weight / 2, steps + 1
    # The losses are 64, 16, 4, 1, 1, 1.
    assert (steps, stopping.best_score, stopping.counter) == (5, 1.0, 2)


def test_a_nan_is_never_an_improvement() -> None:
    stopping = EarlyStopping(patience=2)
    assert [stopping.update(score) for score in [1.0, float("nan"), float("nan")]] == [False, False, True]
    assert stopping.best_score == 1.0
    # The state of a program with another rule.
    stopping.load_state_dict({**stopping.state_dict(), "best_score": float("nan")})
    assert stopping.best_score is None


def test_a_handler_is_attached_to_an_engine_without_ignite(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine()
    stopping = EarlyStopping(1, lambda engine: 0.25, engine)
    stopping.attach(engine)
    assert [event for event, _ in engine.handlers] == ["COMPLETED", "STARTED"]
    with caplog.at_level(logging.INFO):
        stopping(engine)
        assert not engine.terminated
        stopping(engine)
    assert engine.terminated and "Stop training" in caplog.text


def test_a_setting_that_changes_keeps_the_progress() -> None:
    stopping = EarlyStopping(patience=3)
    stopping.update(0.1)
    stopping.update(0.05)
    stopping.threshold = 0.5
    assert (stopping.counter, stopping.best_score, stopping.threshold) == (1, 0.1, 0.5)
    with pytest.raises(ValueError, match="threshold"):
        stopping.threshold = float("nan")
    assert stopping.threshold == 0.5


def test_a_state_dict_that_is_refused_changes_nothing() -> None:
    stopping = EarlyStopping(patience=3)
    stopping.update(0.5)
    state = stopping.state_dict()
    for wrong in [{}, {**state, "threshold_mode": "other"}]:
        with pytest.raises(ValueError):
            stopping.load_state_dict(wrong)
    with pytest.raises(TypeError, match="Argument state_dict should be a dictionary"):
        stopping.load_state_dict(None)
    with pytest.raises(OverflowError):
        stopping.load_state_dict({**state, "counter": -1})
    assert stopping.state_dict() == state


def test_the_time_limit_stops_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now[0])
    engine, limit = Engine(), TimeLimit(2)
    now[0] += 2_000_000_000
    limit(engine)
    assert not engine.terminated
    now[0] += 1
    limit(engine)
    assert engine.terminated
    for wrong, error in [(0, ValueError), (1.5, TypeError)]:
        with pytest.raises(error):
            TimeLimit(wrong)  # type: ignore[arg-type]


def test_a_timer_attaches_its_methods_to_the_events() -> None:
    engine = Engine()
    timer = Timer(average=True).attach(engine, resume="resume", step="step")
    assert [event for event, _ in engine.handlers] == ["STARTED", "COMPLETED", "resume", "step"]
    timer.pause()
    assert not timer.running and timer.value() == timer.total


@pytest.mark.parametrize(
    ("output", "is_finite"),
    [
        (1e100, True),
        (10**30, True),
        (float("inf"), False),
        (complex(1, float("nan")), False),
        ({"nan": [1.0, "nan", b"nan", (2, [])]}, True),
        ([{"a": (1.0, float("-inf"))}], False),
        (np.array([1.0, np.nan])[:1], True),
        (np.array([[1.0, np.nan]], np.float16).T, False),
        (np.arange(10)[::2], True),
        (np.full((3, 3), np.inf, ">f4")[:, 1], False),
    ],
)
def test_terminate_on_nan_checks_all_numbers(output: object, is_finite: bool) -> None:
    engine = Engine()
    engine.output = output
    TerminateOnNan()(engine)
    assert engine.terminated == (not is_finite)


@pytest.mark.parametrize("output", [None, object(), {1.0}])
def test_terminate_on_nan_refuses_an_output_without_numbers(output: object) -> None:
    with pytest.raises(TypeError, match="which is no array of numbers"):
        TerminateOnNan().update(output)
