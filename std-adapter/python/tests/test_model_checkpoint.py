"""`ModelCheckpoint`: what it saves, keeps and restores. The traces test which checkpoints it keeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import training_monitor as tm
from training_monitor.handlers import EarlyStopping, ModelCheckpoint


class Object:
    """An object with a state."""

    def __init__(self, **state: Any) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def model(value: float) -> Object:
    return Object(weight=np.full(3, value, np.float32))


def engine(iteration: int, **metrics: float) -> Any:
    return SimpleNamespace(state=SimpleNamespace(iteration=iteration, metrics=metrics), last_event_name="event")


def steps(checkpoint: ModelCheckpoint) -> list[int]:
    return [step for step, _ in checkpoint.kept]


def test_the_best_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, "best", score_name="accuracy", n_saved=2)
    assert checkpoint.best is None and checkpoint.latest is None
    for iteration, accuracy in enumerate([0.5, 0.75, float("nan"), 0.625, 0.25], 1):
        checkpoint(engine(iteration, accuracy=accuracy), {"model": model(iteration)})
    assert checkpoint.kept == [(4, 0.625), (2, 0.75)]
    assert checkpoint.best is not None and checkpoint.best.score == 0.75
    assert checkpoint.best["model.weight"].tolist() == [2, 2, 2]
    assert checkpoint.latest is not None and checkpoint.latest.step == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".best.lock",
        "best_checkpoint_2_accuracy=0.75.ckpt",
        "best_checkpoint_4_accuracy=0.625.ckpt",
    ]
    assert tm.load(tmp_path, best=True).score_name == "accuracy"


def test_a_new_handler_continues_the_ranking(tmp_path: Path) -> None:
    first = ModelCheckpoint(tmp_path, "best", lambda _: 0.0, n_saved=2)
    for step, score in [(1, 0.1), (2, 0.3)]:
        first.update(step, {"model": model(step)}, score)
    with pytest.raises(ValueError, match="has the checkpoints open for writing"):
        ModelCheckpoint(tmp_path, "best", lambda _: 0.0, n_saved=2, require_empty=False)
    del first
    with pytest.raises(ValueError, match=r"already|empty"):
        ModelCheckpoint(tmp_path, "best", lambda _: 0.0)
    second = ModelCheckpoint(tmp_path, "best", lambda _: 0.0, n_saved=2, require_empty=False)
    assert second.kept == [(1, 0.1), (2, 0.3)]
    assert not second.update(3, {"model": model(3)}, 0.05)
    assert second.update(4, {"model": model(4)}, 0.2)
    assert second.kept == [(4, 0.2), (2, 0.3)]


def test_objects_are_restored_with_their_whole_state(tmp_path: Path) -> None:
    stopping = EarlyStopping(3)
    stopping.update(0.5)
    stopping.update(0.25)
    optimizer = Object(
        state={0: {"step": 3, "average": np.arange(4.0)}, 1: {"step": 4, "average": np.float64(0.5)}},
        groups=[{"rate": 0.1, "betas": (0.9, 0.999), "maximize": False, "name": None}, {"rate": float("inf")}],
    )
    checkpoint = ModelCheckpoint(tmp_path, n_saved=None, global_step_transform=lambda *_: 7)
    checkpoint(engine(30), {"model": model(1.0), "optimizer": optimizer, "stopping": stopping})
    targets = {"model": Object(), "optimizer": Object(), "stopping": EarlyStopping(3)}
    assert checkpoint.latest is not None and (checkpoint.latest.step, checkpoint.latest.iteration) == (7, 30)
    ModelCheckpoint.load_objects(targets, checkpoint.latest)
    assert targets["model"].state["weight"].tolist() == [1, 1, 1]
    restored = targets["optimizer"].state
    assert restored["state"][0].pop("average").tolist() == [0, 1, 2, 3]
    assert restored["state"] == {0: {"step": 3}, 1: {"step": 4, "average": 0.5}}
    assert restored["groups"] == optimizer.state["groups"]
    assert targets["stopping"].state_dict() == stopping.state_dict()
    with pytest.raises(ValueError, match="Key 'other' is not found in the checkpoint, which has model, optimizer"):
        ModelCheckpoint.load_objects({"other": Object()}, tmp_path)


@pytest.mark.parametrize(
    ("to_save", "error", "text"),
    [
        ({}, RuntimeError, "No objects to checkpoint found."),
        ({"model": 1}, TypeError, "should have `state_dict` method"),
        ({"model": model(float("nan"))}, tm.CheckpointError, "element 0 of tensor `weight` is a NaN"),
        ({"model": Object(weight={1, 2})}, TypeError, "a value of type set at 'weight'"),
        ({"a/b": model(1)}, tm.CheckpointError, "a/b"),
    ],
)
def test_a_save_that_is_refused_changes_nothing(
    tmp_path: Path, to_save: dict[str, Any], error: type[Exception], text: str
) -> None:
    checkpoint = ModelCheckpoint(tmp_path, "p")
    checkpoint.update(1, {"model": model(1)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(error, match=text):
        checkpoint.update(2, to_save)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert checkpoint.update(3, {"model": model(3)})
    assert steps(checkpoint) == [3]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the test kills a process")
def test_a_killed_program_leaves_good_checkpoints(tmp_path: Path) -> None:
    program = f"""
        import numpy as np
        from training_monitor.handlers import ModelCheckpoint
        class Model:
            def state_dict(self):
                return {{"weight": np.full(100_000, self.step, np.int64)}}
        model = Model()
        checkpoint = ModelCheckpoint({str(tmp_path)!r}, "latest", n_saved=2, require_empty=False)
        first = checkpoint.latest.step if checkpoint.latest else 0
        for model.step in range(first + 1, 10_000):
            checkpoint.update(model.step, {{"model": model}})
            print(model.step, flush=True)
    """
    last = 0
    for _ in range(10):
        arguments = [sys.executable, "-c", textwrap.dedent(program)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            reported = [int(process.stdout.readline()) for _ in range(3)]
            os.kill(process.pid, signal.SIGKILL)
            reported += [int(line) for line in process.stdout.read().splitlines() if line]
        # The program resumed from a checkpoint that is at least as new as the last reported one.
        assert reported[0] > last
        last = reported[-1]
        checkpoint = tm.load(tmp_path)
        assert checkpoint.step >= last
        assert (checkpoint["model.weight"] == checkpoint.step).all()
