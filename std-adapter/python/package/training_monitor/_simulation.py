"""The host simulation: trains the digits network of the firmware example on this machine."""

from __future__ import annotations

import operator
import os
import warnings as _warnings
from collections.abc import Mapping
from types import EllipsisType, TracebackType
from typing import Any, Literal, NamedTuple

from . import _native
from ._checkpoint import Array, Checkpoint
from ._save import _contents


class Epoch(NamedTuple):
    """The values of a completed epoch."""

    #: The number of the epoch, from 1.
    epoch: int
    #: The running average of the training loss.
    loss: float
    #: The loss on the validation images.
    val_loss: float
    #: The fraction of the validation images that are classified correctly.
    accuracy: float
    #: The learning rate of the last step.
    learning_rate: float
    #: The norm of the gradient in the last step; `None` with 8-bit weights.
    gradient_norm: float | None


class Metrics(NamedTuple):
    """Loss and accuracy on one part of the data."""

    loss: float
    accuracy: float


class Outcome(NamedTuple):
    """How a run ended."""

    #: "MaxEpochs", "EarlyStopping", "NonFinite", "TimeLimit", or "Interrupted" if the run was closed before its end.
    reason: str
    #: The last epoch.
    epoch: int
    #: The last iteration.
    iteration: int


class Simulation:
    """A training run of the digits network, which is advanced epoch by epoch.

        with Simulation("runs/a", epochs=30, learning_rate=0.2) as simulation:
            for epoch in simulation:
                print(epoch.epoch, epoch.val_loss)
        print(simulation.outcome, simulation.test)

    The run, its handlers and its files are those of the program `digits`: the best and the latest checkpoints, the
    history `history.jsonl`, and the chart `run.svg`. Before an item of the iterator is returned, the checkpoints of its
    epoch are saved. If the process is killed, a new `Simulation` with the same directory resumes from the newest
    checkpoint, and ends with the same weights, bit for bit.

    An argument that is omitted has its value of the resumed run, or its default. In a resumed run, `epochs`,
    `patience`, `n_saved` and `time_limit` can have other values than before, and all other arguments must be equal.
    The defaults are: 30 epochs, patience 5, seed 1, 32 hidden units, batches of 16 images, learning rate 0.4, the
    schedule "cosine", 3 best checkpoints, momentum 0.5 and a gradient norm of at most 1. With `quantized=True`, the
    weights have 8 bits, and there is no momentum and no clipping. `clip=None` and `time_limit=None` (in seconds)
    switch the limit off.

    `resume=False` starts a new run; a directory that is not empty is renamed. `weights` are the initial weights: arrays
    with the names of the model's tensors in a checkpoint. They replace those that are drawn from the seed. With
    `partition=(i, n)`, the run trains on every n-th training image, starting with image i. Both belong to the settings,
    so a run does not resume with others. `nan_at` replaces the loss of this iteration by a NaN.

    Raises `ValueError` if an argument is invalid or contradicts the resumed run, `CheckpointError` if a checkpoint
    cannot be used, `BlockingIOError` if another simulation has the directory open, and `OSError` if a file cannot be
    written. An invalid argument changes no file.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        epochs: int | None = None,
        patience: int | None = None,
        seed: int | None = None,
        hidden: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        momentum: float | None = None,
        schedule: Literal["constant", "cosine", "plateau"] | None = None,
        clip: float | EllipsisType | None = ...,
        quantized: bool = False,
        n_saved: int | None = None,
        time_limit: float | EllipsisType | None = ...,
        resume: bool = True,
        weights: Mapping[str, Any] | None = None,
        partition: tuple[int, int] | None = None,
        nan_at: int | None = None,
    ) -> None:
        integers = {
            "epochs": epochs,
            "patience": patience,
            "seed": seed,
            "hidden": hidden,
            "batch-size": batch_size,
            "n-saved": n_saved,
            "nan-at": nan_at,
        }
        numbers = {"learning-rate": learning_rate, "momentum": momentum}
        limits = {"clip": clip, "time-limit": time_limit}
        options = [f"--{name}={operator.index(value)}" for name, value in integers.items() if value is not None]
        options += [f"--{name}={float(value)!r}" for name, value in numbers.items() if value is not None]
        for name, limit in limits.items():
            if not isinstance(limit, EllipsisType):
                options.append(f"--{name}=none" if limit is None else f"--{name}={float(limit)!r}")
        if schedule is not None:
            options.append(f"--schedule={schedule}")
        options += ["--quantized"] * bool(quantized) + ["--resume"] * bool(resume)
        contents = None if weights is None else _weights_contents(weights)
        if partition is not None:
            index, count = partition
            partition = (operator.index(index), operator.index(count))
        self._native = _native.Simulation(os.fspath(directory), options, contents, partition)
        self._warn()

    def __iter__(self) -> Simulation:
        return self

    def __next__(self) -> Epoch:
        """Trains the next epoch and saves its checkpoints."""
        values = self._native.next_epoch()
        self._warn()
        if values is None:
            raise StopIteration
        return Epoch(*values)

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the run in order, if it has not ended, and closes its directory. A new `Simulation` can resume it."""
        self._native.close()
        self._warn()

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended. `None` until the iterator is exhausted or the run is closed."""
        outcome = self._native.outcome
        return None if outcome is None else Outcome(*outcome)

    @property
    def resumed(self) -> int | None:
        """The number of completed epochs in the checkpoint from which the run resumed. `None` for a new run."""
        return self._native.resumed

    @property
    def history(self) -> list[Epoch]:
        """All completed epochs, also those before the resume. They have the values of an undisturbed run."""
        return [Epoch(*values) for values in self._native.epochs()]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the run, as the metadata of each checkpoint contains them."""
        return self._native.settings

    @property
    def notes(self) -> list[str]:
        """What the program `digits` prints at the start, for example which settings differ from the resumed run."""
        return self._native.notes

    @property
    def checksum(self) -> str:
        """A hash of the network and the optimizer after the last epoch or, after the run, after the last step."""
        return self._native.checksum

    @property
    def best(self) -> int | None:
        """The epoch of the best checkpoint. `None` before the end of the run, and if there is no such checkpoint."""
        best = self._native.best
        return None if best is None else best[0]

    @property
    def test(self) -> Metrics | None:
        """Loss and accuracy of the best checkpoint on the test images. `None` where `best` is `None`."""
        best = self._native.best
        return None if best is None else Metrics(*best[1:])

    @property
    def seconds(self) -> float | None:
        """The training time of all starts of the run. `None` before its end."""
        return self._native.seconds

    def weights(self) -> dict[str, Array]:
        """Returns the weights after the last epoch or, after the run, after the last step.

        The names are those of a checkpoint, such as "model.fc1.weight". `load(directory, best=True)` returns the best
        ones.
        """
        return dict(Checkpoint(self._native.weights(), copy=True))

    def _warn(self) -> None:
        for text in self._native.take_warnings():
            _warnings.warn(text, RuntimeWarning, stacklevel=3)


def evaluate_weights(weights: Mapping[str, Any], hidden: int | None = None, test: bool = False) -> Metrics:
    """Returns loss and accuracy of the weights of a simulation on the validation images, or on the test images."""
    options = [] if hidden is None else [f"--hidden={operator.index(hidden)}"]
    return Metrics(*_native.evaluate_weights(options, _weights_contents(weights), test))


def _weights_contents(weights: Mapping[str, Any]) -> dict[str, Any]:
    # A plain dict, so that a checkpoint contributes its tensors only.
    return _contents(dict(weights), 1, None, None, None, None, None, False)
