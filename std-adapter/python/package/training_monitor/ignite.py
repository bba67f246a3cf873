"""Handlers for an engine of PyTorch-Ignite, with Ignite's names and arguments.

A program of Ignite changes its import:

    from training_monitor.ignite import EarlyStopping, TerminateOnNan, Timer

The module needs Ignite and PyTorch. The schedulers are Ignite's, except that the Rust package computes their values,
with 32 bits, so that a device with the same schedule uses the same values. They can be parts of Ignite's
`ConcatScheduler`, `ParamGroupScheduler` and `create_lr_scheduler_with_warmup`.
"""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import param_scheduler as _ignite
from torch import nn

from . import _native
from .handlers import EarlyStopping, ModelCheckpoint, TerminateOnNan, TimeLimit, Timer

__all__ = [
    "CosineAnnealingScheduler",
    "EMAHandler",
    "EarlyStopping",
    "LinearCyclicalScheduler",
    "ModelCheckpoint",
    "PiecewiseLinear",
    "TerminateOnNan",
    "TimeLimit",
    "Timer",
]


class _CyclicalScheduler(_ignite.ParamScheduler):
    """The arguments of a cyclical scheduler."""

    def __init__(
        self,
        optimizer: Any,
        param_name: str,
        start_value: float,
        end_value: float,
        cycle_size: int,
        cycle_mult: float = 1.0,
        start_value_mult: float = 1.0,
        end_value_mult: float = 1.0,
        warmup_duration: int = 0,
        save_history: bool = False,
        param_group_index: int | None = None,
    ) -> None:
        super().__init__(optimizer, param_name, save_history=save_history, param_group_index=param_group_index)
        if cycle_size < 2:
            raise ValueError(f"Argument cycle_size should be positive and larger than 1, but given {cycle_size}")
        self.start_value, self.end_value = start_value, end_value
        self.cycle_size, self.cycle_mult = cycle_size, cycle_mult
        self.start_value_mult, self.end_value_mult = start_value_mult, end_value_mult
        self.warmup_duration = warmup_duration
        self._state_attrs += [
            "start_value",
            "end_value",
            "cycle_size",
            "cycle_mult",
            "start_value_mult",
            "end_value_mult",
            "warmup_duration",
        ]

    def _cycles(self) -> tuple[float, float, int, float, float, float]:
        values = (self.start_value, self.end_value, self.cycle_size)
        return (*values, self.cycle_mult, self.start_value_mult, self.end_value_mult)


class LinearCyclicalScheduler(_CyclicalScheduler):
    """Moves the value from `start_value` to `end_value` in the first half of each cycle and back in the second half."""

    def __init__(self, *args: Any, monotonic: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.monotonic = monotonic
        if self.warmup_duration > 0 and not self.monotonic:
            raise ValueError(
                "Invalid combination when warmup_duration > 0 and monotonic=False, "
                "please use either set warmup_duration=0 or monotonic=True"
            )

    def get_param(self) -> float:
        """Returns the current value."""
        warmup = self.warmup_duration if self.monotonic else None
        return _native.Schedule.linear_cyclical(self._cycles(), warmup).value(self.event_index)


class CosineAnnealingScheduler(_CyclicalScheduler):
    """Moves the value from `start_value` to `end_value` in each cycle, along half a cosine wave."""

    def get_param(self) -> float:
        """Returns the current value."""
        return _native.Schedule.cosine_annealing(self._cycles(), self.warmup_duration).value(self.event_index)


class PiecewiseLinear(_ignite.PiecewiseLinear):
    """Moves the value along straight lines between milestones."""

    def get_param(self) -> float:
        """Returns the current value."""
        points = list(zip(self.milestones, self.values, strict=True))
        return _native.Schedule.piecewise_linear(points).value(self.event_index)


class EMAHandler:
    """Averages the weights of a model: average ← (1 - momentum) · average + momentum · weight.

    An update is all or nothing: while a weight is NaN or infinite, the averages do not change. `skipped` counts these
    updates. The averages are computed with 32 bits, as on a device.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        momentum_warmup: float | None = None,
        warmup_iters: int | None = None,
        handle_buffers: str = "copy",
    ) -> None:
        if not 0 < momentum < 1:
            raise ValueError(f"Invalid momentum: {momentum}")
        if not isinstance(model, nn.Module):
            raise ValueError(
                f"model should be an instance of nn.Module or its subclasses, but got model: {type(model).__name__}"
            )
        if handle_buffers not in ("copy", "update", "ema_train"):
            raise ValueError(
                f"handle_buffers can only be one of 'copy', 'update', 'ema_train', but got {handle_buffers}"
            )
        warmup = None if momentum_warmup is None or warmup_iters is None else (momentum_warmup, warmup_iters)
        self.momentum, self.handle_buffers = momentum, handle_buffers
        self.model = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        self.ema_model = deepcopy(self.model)
        for parameter in self.ema_model.parameters():
            parameter.detach_()
        self.ema_model.train(handle_buffers == "ema_train")
        self.skipped = 0
        self._has_warmup = warmup is not None
        self._average = _native.WeightAverage.exponential(momentum, warmup)
        # The model already has a copy of the weights, so the start only sets the number of updates to 0.
        self._average.start([])

    def update(self) -> bool:
        """Updates the averages. Returns false, and changes nothing, if a weight is NaN or infinite."""
        averages, weights = list(self.ema_model.parameters()), list(self.model.parameters())
        if self.handle_buffers == "update":
            averages += [buffer for buffer in self.ema_model.buffers() if buffer.is_floating_point()]
            weights += [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]
        pairs = [(_Working(average), _Working(weight)) for average, weight in zip(averages, weights, strict=True)]
        if not self._average.update([(average.elements, weight.elements) for average, weight in pairs]):
            self.skipped += 1
            return False
        for average, _ in pairs:
            average.write_back()
        if self.handle_buffers != "ema_train":
            for average_buffer, buffer in zip(self.ema_model.buffers(), self.model.buffers(), strict=True):
                if self.handle_buffers == "copy" or not buffer.is_floating_point():
                    average_buffer.data = buffer.data
        return True

    def attach(
        self,
        engine: Any,
        name: str = "ema_momentum",
        warn_if_exists: bool = True,
        event: Any = Events.ITERATION_COMPLETED,
    ) -> None:
        """Updates the averages at `event`.

        The attribute `name` of `engine.state` is the momentum of the last update.
        """
        if not hasattr(engine.state, name):
            setattr(engine.state, name, self.momentum)
        elif warn_if_exists:
            warnings.warn(
                f"Attribute '{name}' already exists in Engine.state. It might because 1. the engine has loaded its "
                f"state dict or 2. {name} is already created by other handlers. Turn off this warning by setting "
                f"warn_if_exists to False.",
                category=UserWarning,
                stacklevel=2,
            )
        engine.add_event_handler(event, self._update_at_event, name)

    def _update_at_event(self, engine: Any, name: str) -> None:
        self.update()
        if self._has_warmup:
            setattr(engine.state, name, self._average.momentum)


class _Working:
    """The elements of a tensor as numbers of 32 bits on the CPU. They share the memory of the tensor where possible."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor.detach()
        self._converted = self._tensor.to("cpu", torch.float32).contiguous()
        self.elements = self._converted.reshape(-1).numpy()

    def write_back(self) -> None:
        if self._converted.data_ptr() != self._tensor.data_ptr():
            self._tensor.copy_(self._converted)
