"""Studies of the host simulation with Optuna, whose workers can be killed at any time.

    >>> study = optuna.create_study(storage=tm_optuna.storage("study.db"), study_name="a", load_if_exists=True)
    >>> def suggest(trial):
    ...     return {"learning_rate": trial.suggest_float("learning_rate", 0.01, 3, log=True)}
    >>> objective = tm_optuna.Objective("trials", suggest)
    >>> tm_optuna.optimize(study, objective, n_trials=20)

A worker is a process that executes these lines. Any number of workers can work on the same study. If one is killed, its
trial is repeated: the repetition resumes from the last checkpoint, reports the earlier epochs again, and therefore ends
with the same value, the same decision of the pruner and the same weights.
"""

from __future__ import annotations

import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from ._simulation import Simulation

__all__ = ["Objective", "add_grid", "first_trial_number", "optimize", "retry_lost_trials", "storage"]

#: The seconds between two attempts to open a directory, and between two looks at the trials of other workers.
_WAIT = 0.2


def storage(
    path: str | os.PathLike[str],
    heartbeat_interval: int = 10,
    grace_period: int | None = None,
    max_retry: int | None = None,
) -> RDBStorage:
    """Returns the storage in an SQLite file, or at a URL such as `postgresql://…`, with heartbeats and repetitions.

    A trial without a heartbeat for `grace_period` seconds, by default twice the interval, is repeated: at most
    `max_retry` times, or without a limit.
    """
    url = os.fspath(path)
    sqlite = "://" not in url
    with warnings.catch_warnings():
        # Optuna calls heartbeats experimental.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(
            f"sqlite:///{url}" if sqlite else url,
            # The workers write to the same file one after the other.
            engine_kwargs={"connect_args": {"timeout": 60}} if sqlite else None,
            heartbeat_interval=heartbeat_interval,
            grace_period=grace_period,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=max_retry),
        )


def first_trial_number(trial: Trial | FrozenTrial) -> int:
    """Returns the number of the trial that this one repeats, or its own number. Repetitions have the same result."""
    # Optuna gives a running trial no access to the attributes that its callback has set.
    frozen = trial if isinstance(trial, FrozenTrial) else trial.study.get_trials(deepcopy=False)[trial.number]
    return int(frozen.system_attrs.get("failed_trial", trial.number))


class Objective:
    """An objective that trains the digits network, and resumes the training of a killed trial.

    `suggest` receives the trial and returns arguments of `Simulation`. The files of a trial are in
    `directory/trial-00042`, where 42 is the number of the first trial of a chain of repetitions.

    Each epoch reports `metric`: "val_loss", "accuracy" (of the validation images) or "loss" (of the training,
    smoothed). The pruner of the study decides whether the trial continues. The value of the trial is its best value. A
    trial that stopped early, by its patience or its time limit, is COMPLETE.

    The trial has these user attributes: "directory"; "started", the number of this trial; "epochs" and "checksum", the
    last epoch and a hash of its network and optimizer, also if it is pruned; "reason", why the run ended; "best_epoch",
    "test_accuracy" and "test_loss" of the checkpoint with the lowest validation loss; "error", the reason of a failure.

    `on_epoch` is called with the trial and each epoch that this process has trained.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        suggest: Callable[[Trial], Mapping[str, Any]],
        metric: Literal["val_loss", "accuracy", "loss"] = "val_loss",
        on_epoch: Callable[[Trial, Any], None] | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.suggest = suggest
        self.metric = metric
        self.on_epoch = on_epoch
        self._number: int | None = None

    def __call__(self, trial: Trial) -> float:
        self._number = trial.number
        try:
            directory = self.directory / f"trial-{first_trial_number(trial):05d}"
            # A trial with this attribute has a heartbeat; see `retry_lost_trials`. A repetition inherits the attribute
            # with the number of the killed trial.
            _record_heartbeat(trial)
            trial.set_user_attr("started", trial.number)
            trial.set_user_attr("directory", str(directory))
            with _open(directory, self.suggest(trial)) as simulation:
                return self._train(trial, simulation)
        except (optuna.TrialPruned, UpdateFinishedTrialError):
            # The second one: another worker has taken the trial; see `optimize`.
            raise
        except Exception as error:
            # The failure is the objective's, so the trial is not repeated.
            trial.set_user_attr("error", repr(error))
            raise

    def _train(self, trial: Trial, simulation: Simulation) -> float:
        earlier = simulation.history
        for epoch in itertools.chain(earlier, simulation):
            if len(simulation.history) > len(earlier) and self.on_epoch is not None:
                self.on_epoch(trial, epoch)
            trial.report(getattr(epoch, self.metric), epoch.epoch)
            if trial.should_prune():
                self._describe(trial, simulation)
                raise optuna.TrialPruned(f"after epoch {epoch.epoch}")
        self._describe(trial, simulation)
        is_minimum = trial.study.direction == StudyDirection.MINIMIZE
        values = [getattr(epoch, self.metric) for epoch in simulation.history]
        # A NaN is never the best value.
        values = [value for value in values if value == value]
        if not values:
            raise optuna.TrialPruned("no epoch has a finite value")
        return float(min(values) if is_minimum else max(values))

    def _describe(self, trial: Trial, simulation: Simulation) -> None:
        epochs, outcome, test = simulation.history, simulation.outcome, simulation.test
        trial.set_user_attr("epochs", epochs[-1].epoch if epochs else 0)
        trial.set_user_attr("checksum", simulation.checksum)
        if outcome is not None:
            trial.set_user_attr("reason", outcome.reason)
        if test is not None:
            trial.set_user_attr("best_epoch", simulation.best)
            trial.set_user_attr("test_accuracy", test.accuracy)
            trial.set_user_attr("test_loss", test.loss)

    def _has_lost_its_trial(self, study: Study) -> bool:
        """Returns whether another worker has ended the trial.

        It regarded this worker as dead, or both took the same waiting trial, which Optuna does not lock in SQLite.
        """
        trials = [trial for trial in study.get_trials(deepcopy=False) if trial.number == self._number]
        return any(trial.state.is_finished() and "error" not in trial.user_attrs for trial in trials)


def add_grid(study: Study, grid: Mapping[str, Iterable[Any]]) -> int:
    """Adds a trial for each combination of the values, unless the study has it. Returns the number of combinations.

    `Objective.suggest` must suggest the same names, for example by `trial.suggest_categorical`.
    """
    combinations = list(itertools.product(*grid.values()))
    for values in combinations:
        study.enqueue_trial(dict(zip(grid, values, strict=True)), skip_if_exists=True)
    return len(combinations)


def optimize(study: Study, objective: Objective, n_trials: int) -> None:
    """Runs trials until the study has `n_trials` trials that have not failed, and all of them have ended.

    Trials of killed workers are repeated, so this function also waits for the trials of other workers. If the trial of
    a worker is repeated although the worker lives, for example because it was suspended, the worker continues with
    another trial, and the repetition waits until the directory is closed. Workers that start their last trials at the
    same time can add a few more trials than `n_trials`.
    """
    while True:
        retry_lost_trials(study)
        trials = study.get_trials(deepcopy=False)
        states = [trial.state for trial in trials if trial.state != TrialState.FAIL]
        if TrialState.WAITING in states or len(states) < n_trials:
            try:
                study.optimize(objective, n_trials=1)
            except (UpdateFinishedTrialError, ValueError):
                if not objective._has_lost_its_trial(study):
                    raise
        elif TrialState.RUNNING in states:
            time.sleep(_WAIT)
        else:
            return


def retry_lost_trials(study: Study) -> None:
    """Repeats the trials of killed workers, also those that Optuna would never repeat.

    Optuna repeats a trial whose heartbeat has stopped. It does not repeat a trial whose worker was killed before the
    first heartbeat, and one whose failure was noticed by a worker that was killed before it could add the repetition.
    """
    callback = _stale_trial_callback(study._storage)
    if callback is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)
    trials = study.get_trials(deepcopy=True)
    repeated = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    for trial in trials:
        is_lost = trial.state == TrialState.FAIL and "error" not in trial.user_attrs
        if trial.state == TrialState.RUNNING and _has_no_heartbeat(study._storage, trial):
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except (UpdateFinishedTrialError, ValueError):
                continue  # Another worker was faster.
            is_lost = True
        if is_lost and trial.number not in repeated:
            callback(study, trial)


def _stale_trial_callback(storage: Any) -> Callable[[Study, FrozenTrial], None] | None:
    # A storage without heartbeats, such as the one in memory, has no such method.
    get_callback = getattr(storage, "get_heartbeat_stale_trial_callback", None)
    return None if get_callback is None else get_callback()


def _record_heartbeat(trial: Any) -> None:
    if _stale_trial_callback(trial.study._storage) is not None:
        trial.study._storage.record_heartbeat(trial._trial_id)


def _has_no_heartbeat(storage: Any, trial: FrozenTrial) -> bool:
    """Returns whether a running trial had enough time to start, but has not started."""
    # A study wraps the storage in a cache.
    backend = getattr(storage, "_backend", storage)
    seconds = getattr(backend, "grace_period", None) or 2 * storage.get_heartbeat_interval()
    started = trial.datetime_start
    is_old = started is not None and datetime.now() - started > timedelta(seconds=seconds)
    return is_old and trial.user_attrs.get("started") != trial.number


def _open(directory: Path, settings: Mapping[str, Any]) -> Simulation:
    """Opens the directory. Waits for a worker whose trial is repeated although it lives."""
    while True:
        try:
            return Simulation(directory, **settings)
        except BlockingIOError:
            time.sleep(_WAIT)
