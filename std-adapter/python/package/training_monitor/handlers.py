"""Handlers with the names and the arguments of PyTorch-Ignite.

Each handler uses the state machine of the Rust package, so it decides exactly as the handler of a device does. A
handler works with an engine of Ignite, and also alone: an engine is any object with the methods that the handler calls,
for example `terminate`. The module imports neither Ignite nor PyTorch.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from . import _native
from ._convert import to_array
from ._model_checkpoint import ModelCheckpoint

__all__ = ["EarlyStopping", "ModelCheckpoint", "TerminateOnNan", "TimeLimit", "Timer"]

_NANOSECONDS = 1_000_000_000


def _event(name: str) -> Any:
    """Returns the event of Ignite with this name, or the name itself if Ignite is not in use."""
    engine = sys.modules.get("ignite.engine")
    return name if engine is None else getattr(engine.Events, name)


def _check_state_dict(state_dict: Any, keys: Sequence[str]) -> None:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Argument state_dict should be a dictionary, but given {type(state_dict)}")
    for key in keys:
        if key not in state_dict:
            raise ValueError(f"Required state attribute '{key}' is absent in provided state_dict '{state_dict.keys()}'")


def _deprecated(name: str, replacement: str) -> None:
    text = f"{name} is deprecated and will be removed in a future version. Please use '{replacement}' instead."
    warnings.warn(text, DeprecationWarning, stacklevel=3)


class EarlyStopping:
    """Stops a run whose score no longer improves.

    `score_function` receives the engine and returns the score. After `patience` scores in a row without an improvement,
    the handler calls `trainer.terminate()`. Alone, `update` receives a score and returns whether the run should stop;
    then `score_function` and `trainer` can be omitted.

    Scores are compared as numbers of 32 bits, as on a device. A NaN is never an improvement.
    """

    def __init__(
        self,
        patience: int,
        score_function: Callable[[Any], float] | None = None,
        trainer: Any = None,
        threshold: float = 0.0,
        cumulative: bool = False,
        threshold_mode: Literal["abs", "rel"] = "abs",
        mode: Literal["min", "max"] = "max",
        min_delta: float | None = None,
        min_delta_mode: Literal["abs", "rel"] | None = None,
        cumulative_delta: bool | None = None,
    ) -> None:
        if score_function is not None or trainer is not None:
            if not callable(score_function):
                raise TypeError("Argument score_function should be a function.")
            if patience >= 1 and not callable(getattr(trainer, "terminate", None)):
                raise TypeError("Argument trainer should be an instance of Engine.")
        if patience < 1:
            raise ValueError("Argument patience should be positive integer.")
        if min_delta is not None:
            _deprecated("'min_delta'", "threshold")
            threshold = min_delta
        if min_delta_mode is not None:
            _deprecated("'min_delta_mode'", "threshold_mode")
            threshold_mode = min_delta_mode
        if cumulative_delta is not None:
            _deprecated("'cumulative_delta'", "cumulative")
            cumulative = cumulative_delta
        if threshold < 0.0:
            raise ValueError("Argument threshold should not be a negative number.")
        self.score_function, self.trainer = score_function, trainer
        self._settings: dict[str, Any] = {
            "patience": patience,
            "threshold": threshold,
            "threshold_mode": threshold_mode,
            "mode": mode,
            "cumulative": cumulative,
        }
        self._machine = _native.EarlyStopping(**self._settings)
        self.logger = logging.getLogger(f"{__name__}.{type(self).__name__}")

    def _change(self, **settings: Any) -> None:
        """Changes settings and keeps the progress."""
        machine = _native.EarlyStopping(**{**self._settings, **settings})
        machine.restore(self._machine.counter, self._machine.best_score)
        self._machine = machine
        self._settings.update(settings)

    @property
    def counter(self) -> int:
        """The number of scores in a row without an improvement."""
        return self._machine.counter

    @counter.setter
    def counter(self, value: int) -> None:
        self._machine.restore(value, self.best_score)

    @property
    def best_score(self) -> float | None:
        """The best score so far; `None` if there was none."""
        return self._machine.best_score

    @best_score.setter
    def best_score(self, value: float | None) -> None:
        self._machine.restore(self.counter, value)

    def update(self, score: float) -> bool:
        """Compares `score` with the best score so far. Returns whether the run should stop."""
        return self._machine.update(float(score))

    def __call__(self, engine: Any = None) -> None:
        """Passes the result of `score_function` to `update`, and terminates the trainer if the run should stop."""
        if self.score_function is None:
            raise TypeError("without a score_function, pass the score to `update`")
        if self.update(self.score_function(engine)):
            self.logger.info("EarlyStopping: Stop training")
            self.trainer.terminate()
        elif self.counter > 0:
            self.logger.debug("EarlyStopping: %i / %i", self.counter, self.patience)

    def reset(self) -> None:
        """Sets the counter to 0 and removes the best score."""
        self._machine.reset()

    def attach(
        self,
        engine: Any,
        event: Any = None,
        reset_engine: Any = None,
        reset_event: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Calls the handler at `event` of `engine`, and `reset` at `reset_event` of `reset_engine`.

        The default events are COMPLETED and STARTED. The default of `reset_engine` is `engine`.
        """
        engine.add_event_handler(_event("COMPLETED") if event is None else event, self)
        target = engine if reset_engine is None else reset_engine
        target.add_event_handler(_event("STARTED") if reset_event is None else reset_event, self.reset)

    def state_dict(self) -> OrderedDict[str, Any]:
        """Returns the counter, the best score and the mode of the threshold."""
        items = [("counter", self.counter), ("best_score", self.best_score), ("threshold_mode", self.threshold_mode)]
        return OrderedDict(items)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores the result of `state_dict`."""
        _check_state_dict(state_dict, ["counter", "best_score", "threshold_mode"])
        machine = _native.EarlyStopping(**{**self._settings, "threshold_mode": state_dict["threshold_mode"]})
        machine.restore(state_dict["counter"], state_dict["best_score"])
        self._machine = machine
        self._settings["threshold_mode"] = state_dict["threshold_mode"]

    @property
    def patience(self) -> int:
        """The run stops after this number of scores in a row without an improvement."""
        return int(self._settings["patience"])

    @property
    def mode(self) -> str:
        """Whether a higher or a lower score is better."""
        return str(self._settings["mode"])

    @property
    def threshold(self) -> float:
        """The gain that a score must exceed to be an improvement."""
        return float(self._settings["threshold"])

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._change(threshold=value)

    @property
    def threshold_mode(self) -> str:
        """Whether the threshold is a difference ("abs") or a fraction of the best score ("rel")."""
        return str(self._settings["threshold_mode"])

    @threshold_mode.setter
    def threshold_mode(self, value: str) -> None:
        self._change(threshold_mode=value)

    @property
    def cumulative(self) -> bool:
        """Whether small gains add up."""
        return bool(self._settings["cumulative"])

    @cumulative.setter
    def cumulative(self, value: bool) -> None:
        self._change(cumulative=value)

    @property
    def min_delta(self) -> float:
        """The earlier name of `threshold`."""
        _deprecated("min_delta", "threshold")
        return self.threshold

    @min_delta.setter
    def min_delta(self, value: float) -> None:
        _deprecated("min_delta", "threshold")
        self.threshold = value

    @property
    def min_delta_mode(self) -> str:
        """The earlier name of `threshold_mode`."""
        _deprecated("min_delta_mode", "threshold_mode")
        return self.threshold_mode

    @min_delta_mode.setter
    def min_delta_mode(self, value: str) -> None:
        _deprecated("min_delta_mode", "threshold_mode")
        self.threshold_mode = value

    @property
    def cumulative_delta(self) -> bool:
        """The earlier name of `cumulative`."""
        _deprecated("cumulative_delta", "cumulative")
        return self.cumulative

    @cumulative_delta.setter
    def cumulative_delta(self, value: bool) -> None:
        _deprecated("cumulative_delta", "cumulative")
        self.cumulative = value


class Timer:
    """Measures the time of a run, an epoch or a batch, as a total or as an average over its steps, in seconds.

    The timer runs from its construction.
    """

    def __init__(self, average: bool = False) -> None:
        self._timer = _native.Timer(time.perf_counter_ns(), average)

    def attach(self, engine: Any, start: Any = None, pause: Any = None, resume: Any = None, step: Any = None) -> Timer:
        """Calls the methods at these events. By default, the timer resets at STARTED and pauses at COMPLETED."""
        engine.add_event_handler(_event("STARTED") if start is None else start, self.reset)
        engine.add_event_handler(_event("COMPLETED") if pause is None else pause, self.pause)
        if resume is not None:
            engine.add_event_handler(resume, self.resume)
        if step is not None:
            engine.add_event_handler(step, self.step)
        return self

    def reset(self, *args: Any) -> Timer:
        """Sets the total and the steps to 0 and starts the timer."""
        self._timer.reset(time.perf_counter_ns())
        return self

    def pause(self, *args: Any) -> None:
        """Pauses the timer. Has no effect while it is paused."""
        self._timer.pause(time.perf_counter_ns())

    def resume(self, *args: Any) -> None:
        """Resumes the timer. Has no effect while it is running."""
        self._timer.resume(time.perf_counter_ns())

    def step(self, *args: Any) -> None:
        """Counts a step."""
        self._timer.step()

    def value(self) -> float:
        """Returns the elapsed seconds. A timer with `average` divides them by the number of steps."""
        return self._timer.value(time.perf_counter_ns()) / _NANOSECONDS

    @property
    def total(self) -> float:
        """The seconds of all completed intervals."""
        return self._timer.total() / _NANOSECONDS

    @property
    def step_count(self) -> float:
        """The number of steps."""
        return float(self._timer.step_count)

    @property
    def running(self) -> bool:
        """Whether the timer is running."""
        return self._timer.running


class TimeLimit:
    """Stops a run when more than `limit_sec` seconds have elapsed since the construction of the handler."""

    def __init__(self, limit_sec: int = 28800) -> None:
        if not isinstance(limit_sec, int):
            raise TypeError("Argument limit_sec should be an integer.")
        if limit_sec <= 0:
            raise ValueError("Argument limit_sec should be a positive integer.")
        self.limit_sec = limit_sec
        self._limit = _native.TimeLimit(limit_sec * _NANOSECONDS)
        self._limit.start(time.perf_counter_ns())
        self.logger = logging.getLogger(f"{__name__}.{type(self).__name__}")

    def update(self) -> bool:
        """Returns whether the time is used up."""
        return self._limit.update(time.perf_counter_ns())

    def __call__(self, engine: Any) -> None:
        """Terminates the engine if the time is used up."""
        if self.update():
            self.logger.info("Reached the time limit: %i sec. Stop training", self.limit_sec)
            engine.terminate()


class TerminateOnNan:
    """Stops a run whose output contains a NaN or an infinity.

    `output_transform` receives the output of the engine. Its result is a number, an array, a tensor, or a mapping or a
    sequence of such values; text is ignored. A number or an array of 64 bits is checked as such: 1e100 is finite.
    """

    def __init__(self, output_transform: Callable[[Any], Any] = lambda output: output) -> None:
        self._output_transform = output_transform
        self.logger = logging.getLogger(f"{__name__}.{type(self).__name__}")

    def update(self, output: Any) -> bool:
        """Returns whether `output` contains a NaN or an infinity, so that the run should stop."""
        return not _is_finite(self._output_transform(output))

    def __call__(self, engine: Any) -> None:
        """Terminates the engine if its output contains a NaN or an infinity."""
        output = engine.state.output
        if self.update(output):
            self.logger.warning("TerminateOnNan: Output '%s' contains NaN or Inf. Stop training", output)
            engine.terminate()


def _is_finite(value: Any) -> bool:
    if isinstance(value, str | bytes | int):
        return True
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, Sequence):
        return all(map(_is_finite, value))
    array = to_array("output", value)
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag])
    if array.dtype.kind in "biu":
        return True
    elements = np.ascontiguousarray(array).reshape(-1)
    if array.dtype == np.float64:
        return _native.all_finite_f64(elements)
    # A conversion of a smaller type is exact.
    return _native.all_finite_f32(elements.astype(np.float32, copy=False))
