"""A program of Ignite does the same after only its import has changed. The step `ignite` of `check` runs this file."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, "tests/ignite")
pytest.importorskip("ignite_torch").adapt()
pytest.importorskip("ignite")

from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer  # noqa: E402
from ignite.metrics import Loss  # noqa: E402


def program(module: str) -> tuple[int, list[float], list[float], list[torch.Tensor]]:
    """Trains a small network with the handlers of a module."""
    handlers: Any = importlib.import_module(module)
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    inputs = torch.randn(64, 2)
    targets = inputs[:, :1] * inputs[:, 1:]
    batches = list(zip(inputs.split(16), targets.split(16), strict=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = torch.nn.MSELoss()
    trainer = create_supervised_trainer(model, optimizer, loss)
    evaluator = create_supervised_evaluator(model, metrics={"loss": Loss(loss)})
    losses: list[float] = []
    rates: list[float] = []

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate(_: Engine) -> None:
        evaluator.run(batches[:2])
        losses.append(evaluator.state.metrics["loss"])
        rates.append(optimizer.param_groups[0]["lr"])

    stopping = handlers.EarlyStopping(3, lambda engine: -engine.state.metrics["loss"], trainer, threshold=2**-7)
    evaluator.add_event_handler(Events.COMPLETED, stopping)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, handlers.TerminateOnNan())
    trainer.add_event_handler(
        Events.ITERATION_STARTED, handlers.LinearCyclicalScheduler(optimizer, "lr", 0.125, 0.25, 8)
    )
    ema = handlers.EMAHandler(model, momentum=0.25)
    ema.attach(trainer)
    timer = handlers.Timer(average=True)
    timer.attach(trainer, step=Events.ITERATION_COMPLETED)
    trainer.run(batches, max_epochs=100)
    assert timer.step_count == trainer.state.iteration
    return trainer.state.epoch, losses, rates, [parameter.clone() for parameter in ema.ema_model.parameters()]


def test_a_program_does_the_same_after_its_import_has_changed() -> None:
    epochs, losses, rates, averages = program("ignite.handlers")
    assert 3 < epochs < 100
    found_epochs, found_losses, found_rates, found_averages = program("training_monitor.ignite")
    assert (found_epochs, found_losses, found_rates) == (epochs, losses, rates)
    for expected, found in zip(averages, found_averages, strict=True):
        assert torch.allclose(expected, found, rtol=1e-6)


def test_the_average_ignores_weights_that_are_not_finite() -> None:
    package = importlib.import_module("training_monitor.ignite")
    model = torch.nn.Linear(2, 1).double()
    ema = package.EMAHandler(model, momentum=0.5)
    before = [parameter.clone() for parameter in ema.ema_model.parameters()]
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    assert not ema.update()
    assert ema.skipped == 1
    assert all(map(torch.equal, before, ema.ema_model.parameters()))
    with torch.no_grad():
        model.weight[0, 0] = 3.0
    assert ema.update()
    assert ema.ema_model.weight[0, 0] == pytest.approx((float(before[0][0, 0]) + 3.0) / 2, rel=1e-6)
