"""A program of Ignite does the same after only its import has changed. The step `ignite` of `check` runs this file."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import training_monitor as tm
from training_monitor.handlers import ModelCheckpoint

torch = pytest.importorskip("torch")
sys.path.insert(0, "tests/ignite")
pytest.importorskip("ignite_torch").adapt()
pytest.importorskip("ignite")

from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer  # noqa: E402
from ignite.metrics import Loss  # noqa: E402


def program(module: str, directory: Path) -> tuple[int, list[float], list[float], list[torch.Tensor]]:
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
    checkpoint = handlers.ModelCheckpoint(
        directory,
        "best",
        score_function=lambda engine: -engine.state.metrics["loss"],
        n_saved=2,
        global_step_transform=lambda *_: trainer.state.epoch,
    )
    evaluator.add_event_handler(Events.COMPLETED, checkpoint, {"model": model, "optimizer": optimizer})
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


def saved_epochs(directory: Path) -> list[int]:
    """The epochs in the names of the checkpoint files."""
    return sorted(int(path.name.split("_")[2].split(".")[0]) for path in directory.iterdir() if "_" in path.name)


def test_a_program_does_the_same_after_its_import_has_changed(tmp_path: Path) -> None:
    epochs, losses, rates, averages = program("ignite.handlers", tmp_path / "ignite")
    assert 3 < epochs < 100
    found_epochs, found_losses, found_rates, found_averages = program("training_monitor.ignite", tmp_path / "package")
    assert len(saved_epochs(tmp_path / "ignite")) == 2
    assert saved_epochs(tmp_path / "package") == saved_epochs(tmp_path / "ignite")
    # The checkpoint contains the state of the optimizer, too.
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    best = tm.load(tmp_path / "package", best=True)
    ModelCheckpoint.load_objects({"model": model, "optimizer": optimizer}, best)
    assert optimizer.param_groups[0]["lr"] in rates
    assert torch.equal(model[0].weight, torch.from_numpy(best["model.0.weight"]))
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
