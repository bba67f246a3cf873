"""Replays the recorded traces of PyTorch-Ignite and torch through Python, by the rules of tests/traces/README.md."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from training_monitor import _native
from training_monitor.handlers import EarlyStopping, ModelCheckpoint, TerminateOnNan, TimeLimit, Timer

Trace = dict[str, Any]
TRACES = REPOSITORY / "tests" / "traces"


def traces(name: str, at_least: int) -> Iterable[Trace]:
    """Yields the traces of a file."""
    lines = (TRACES / f"{name}.jsonl").read_text().splitlines()
    assert len(lines) >= at_least
    return map(json.loads, lines)


def largest(*values: Any) -> float:
    """The largest finite magnitude among the inputs and results of a trace."""
    numbers = np.abs(np.array([float(value) for value in values], np.float64))
    return float(max(numbers[np.isfinite(numbers)], default=0.0))


def is_near(expected: float, found: float, scale: float) -> bool:
    return found == pytest.approx(float(expected), rel=1e-5, abs=1e-6 * scale, nan_ok=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Replaces the clock of the handlers. The fixture sets the time to a number of ticks."""
    now = [0]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now[0])

    def set_ticks(ticks: int, hertz: int) -> None:
        # 1024 ticks per second are a whole number of nanoseconds only after each 16th tick, so round up.
        now[0] = -(-ticks * 1_000_000_000 // hertz)

    return set_ticks


def test_early_stopping() -> None:
    for trace in traces("early_stopping.newest", 60):
        stopping, terminated = EarlyStopping(**trace["config"]), False
        for index, call in enumerate(trace["calls"]):
            if call["reset_before"]:
                stopping.reset()
            terminated |= stopping.update(float(call["score"]))
            best = None if call["best_score"] is None else np.float32(float(call["best_score"]))
            found_best = None if stopping.best_score is None else np.float32(stopping.best_score)
            found = (stopping.counter, found_best, terminated)
            assert found == (call["counter"], best, call["terminated"]), (trace["id"], index)
            # A state dict continues at every call.
            restored = EarlyStopping(**trace["config"])
            restored.load_state_dict(stopping.state_dict())
            stopping = restored


@pytest.mark.parametrize("name", ["timer.newest", "timer.seed"])
def test_timer(name: str, clock: Callable[[int, int], None]) -> None:
    for trace in traces(name, 60):
        hertz, ticks = trace["config"]["tick_hz"], 0
        clock(0, hertz)
        timer = Timer(average=trace["config"]["average"])
        for index, call in enumerate(trace["calls"]):
            ticks += call["advance_ticks"]
            clock(ticks, hertz)
            if call["op"] != "none":
                getattr(timer, call["op"])()
            found = (timer.value(), timer.total)
            expected = (call["value"], call["total"])
            # The clock of the replay rounds each tick to nanoseconds, and the average is rounded down to nanoseconds.
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-7), (trace["id"], index)
            assert (timer.step_count, timer.running) == (call["step_count"], call["running"]), (trace["id"], index)


def test_time_limit(clock: Callable[[int, int], None]) -> None:
    class Engine:
        terminated = False

        def terminate(self) -> None:
            self.terminated = True

    for trace in traces("time_limit.ignite", 40):
        config, ticks, iterations = trace["config"], 0, 0
        clock(0, config["tick_hz"])
        limit, engine = TimeLimit(config["limit_seconds"]), Engine()
        for work in trace["work_ticks"]:
            ticks += work
            clock(ticks, config["tick_hz"])
            iterations += 1
            limit(engine)
            if engine.terminated:
                break
        assert iterations == trace["iterations"], trace["id"]


def tree(node: Trace, as_array: bool) -> Any:
    ((kind, content),) = node.items()
    if kind == "number":
        return float(content)
    if kind == "tensor":
        numbers = [float(number) for number in content]
        return np.array(numbers, np.float32) if as_array else numbers
    if kind == "list":
        return [tree(item, as_array) for item in content]
    assert kind == "map"
    return {str(key): tree(item, as_array) for key, item in content}


@pytest.mark.parametrize("as_array", [False, True])
def test_terminate_on_nan(as_array: bool) -> None:
    for trace in traces("terminate_on_nan.seed", 60):
        for index, call in enumerate(trace["calls"]):
            with np.errstate(over="ignore"):
                output = tree(call["output"], as_array)
            assert TerminateOnNan().update(output) == call["terminated"], (trace["id"], index)


class Weights:
    """The object that a replay saves."""

    def state_dict(self) -> dict[str, Any]:
        return {"weight": np.zeros(2, np.float32)}


def test_retention(tmp_path: Path) -> None:
    for trace in traces("retention.newest", 40):
        config = trace["config"]
        checkpoint = ModelCheckpoint(
            tmp_path / trace["id"],
            "p",
            (lambda _: 0.0) if config["scored"] else None,
            n_saved=config["n_saved"],
            greater_or_equal=config["greater_or_equal"],
        )
        for index, call in enumerate(trace["calls"]):
            score = None if call["score"] is None else float(call["score"])
            checkpoint.update(call["step"], {"model": Weights()}, score)
            files = [path.name for path in (tmp_path / trace["id"]).iterdir() if path.suffix == ".ckpt"]
            steps = sorted(int(name.split("_")[2].removesuffix(".ckpt").split("~")[0]) for name in files)
            assert steps == sorted(call["kept_steps"]), (trace["id"], index)


def test_running_average() -> None:
    for trace in traces("running_average.ignite", 20):
        config, calls = trace["config"], trace["calls"]
        average = _native.RunningAverage(config["alpha"])
        scale = largest(*[call[key] for call in calls for key in ("value", "average")])
        for index, call in enumerate(calls):
            if config["span"] == "epoch" and index % config["batches"] == 0:
                average.reset()
            assert is_near(call["average"], average.update(float(call["value"])), scale), (trace["id"], index)


@pytest.mark.parametrize("name", ["ema.ignite", "equal_average.torch"])
def test_weight_average(name: str) -> None:
    for trace in traces(name, 20):
        config, calls = trace["config"], trace["calls"]
        scale = largest(*config.get("initial", []), *[x for call in calls for x in call["weights"] + call["average"]])
        averages = np.zeros(len(calls[0]["weights"]), np.float32)
        if name == "ema.ignite":
            has_warmup = config["momentum_warmup"] is not None and config["warmup_iters"] is not None
            warmup = (config["momentum_warmup"], config["warmup_iters"]) if has_warmup else None
            average = _native.WeightAverage.exponential(config["momentum"], warmup)
            assert average.start([(averages, np.array(config["initial"], np.float32))])
        else:
            average = _native.WeightAverage.equal()
        for index, call in enumerate(calls):
            assert average.update([(averages, np.array(call["weights"], np.float32))])
            for expected, found in zip(call["average"], averages.tolist(), strict=True):
                assert is_near(expected, found, scale), (trace["id"], index)
            if "momentum" in call:
                assert is_near(call["momentum"], average.momentum, 1.0), (trace["id"], index)
            assert average.updates == call.get("n_averaged", index + 1)


def test_reduce_on_plateau() -> None:
    for trace in traces("plateau.torch", 60):
        config = dict(trace["config"])
        scale = largest(config["base"], config["min_lr"])
        plateau = _native.ReduceOnPlateau(value=config.pop("base"), min_value=config.pop("min_lr"), **config)
        for index, call in enumerate(trace["calls"]):
            assert is_near(call["value"], plateau.update(float(call["metric"])), scale), (trace["id"], index)


def schedule(config: Trace) -> _native.Schedule:
    """Creates the schedule of a trace."""
    new, kind = _native.Schedule, config["schedule"]
    c, base = config, config.get("base")
    if kind in ("linear_cyclical", "cosine_annealing"):
        cycles = (c["start_value"], c["end_value"], c["cycle_size"])
        factors = tuple(c.get(name, 1.0) for name in ("cycle_mult", "start_value_mult", "end_value_mult"))
        if kind == "linear_cyclical":
            return new.linear_cyclical((*cycles, *factors), None)
        return new.cosine_annealing((*cycles, *factors), 0)
    if kind == "piecewise_linear":
        return new.piecewise_linear([tuple(pair) for pair in c["milestones_values"]])
    if kind == "warmup":
        inner = schedule(c["inner"])
        return new.warmup(inner, c["warmup_start_value"], c["warmup_duration"], c["warmup_end_value"])
    if kind == "concat":
        *parts, last = map(schedule, c["parts"])
        for part, duration in zip(reversed(parts), reversed(c["durations"]), strict=True):
            last = new.concat(part, duration, last)
        return last
    if kind == "one_cycle":
        factors = (c["div_factor"], c["final_div_factor"])
        return new.one_cycle(c["max_lr"], c["total_steps"], c["pct_start"], c["anneal"], factors, c["three_phase"])
    if kind == "cyclic":
        return new.cyclic(c["base_lr"], c["max_lr"], (c["step_size_up"], c["step_size_down"]), c["mode"], c["gamma"])
    constructor = {"step": new.step_decay}.get(kind) or getattr(new, kind)
    return constructor(base, **{name: value for name, value in c.items() if name not in ("base", "schedule")})


def numbers(value: Any) -> list[float]:
    """All numbers in the settings of a trace whose names say that they are values of the schedule."""
    names = ("value", "values", "base", "lr", "inner", "parts", "eta_min")
    if isinstance(value, dict):
        return [number for key, item in value.items() if key.endswith(names) for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item[1] if isinstance(item, list) else item)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize("name", ["lr_schedule.torch", "param_schedule.ignite"])
def test_schedules(name: str) -> None:
    for trace in traces(name, 30):
        found = schedule(trace["config"])
        scale = largest(*numbers(trace["config"]), *trace["values"])
        for step, expected in enumerate(trace["values"]):
            assert is_near(expected, found.value(step), scale), (trace["id"], step)
