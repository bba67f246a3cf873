"""Studies with Optuna: workers that are killed change no result.

`STUDY_KILLS` is the number of kills, and `KILL_SEED` the seed of their times.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import training_monitor as tm

optuna = pytest.importorskip("optuna")

import worker  # noqa: E402
from optuna.trial import TrialState  # noqa: E402
from training_monitor import optuna as tm_optuna  # noqa: E402

KILLS = int(os.environ.get("STUDY_KILLS", "20"))
WORKERS = 2


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


class Worker:
    """A process that works on the study until it is killed after a random number of epochs, or at a random time."""

    def __init__(self, directory: Path, name: str, choose: random.Random | None = None) -> None:
        self.output = directory / f"{name}.txt"
        with self.output.open("w") as stdout, self.output.with_suffix(".err").open("w") as stderr:
            arguments = [sys.executable, worker.__file__, str(directory)]
            self.process = subprocess.Popen(arguments, stdout=stdout, stderr=stderr)
        self.deadline = float("inf")
        self.epochs: float = float("inf")
        self.delay = 0.0
        if choose is not None and choose.random() < 0.25:
            self.deadline = time.monotonic() + choose.random() * 4
        elif choose is not None:
            self.epochs, self.delay = choose.randint(1, 3), choose.random() * 0.1

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def kill_if_due(self) -> None:
        if self.epochs <= len(self.lines()):
            self.epochs, self.deadline = float("inf"), time.monotonic() + self.delay
        if time.monotonic() >= self.deadline:
            self.process.kill()
            self.process.wait()

    def end(self) -> int | None:
        """Returns the exit code, or `None` while the process runs."""
        code = self.process.poll()
        assert code in (None, 0, -9), self.output.with_suffix(".err").read_text()
        return code


def results(directory: Path) -> dict[Any, Any]:
    """The final trials by their parameters. Two trials with the same parameters must have the same result."""
    found: dict[Any, Any] = {}
    for trial in worker.create_study(directory).get_trials():
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            names = ["epochs", "checksum", "reason", "best_epoch", "test_accuracy", "test_loss"]
            attributes = [trial.user_attrs.get(name) for name in names]
            values = trial.intermediate_values
            result = (trial.state.name, trial.value, attributes, values)
            assert found.setdefault(frozenset(trial.params.items()), result) == result
            assert list(values) == list(range(1, len(values) + 1))
        else:
            # The other trials are those of killed workers.
            assert trial.state == TrialState.FAIL and "error" not in trial.user_attrs, trial
    return found


def create(directory: Path) -> Path:
    directory.mkdir()
    # Not every worker creates the tables of the storage.
    tm_optuna.add_grid(worker.create_study(directory), worker.GRID)
    return directory


def run_and_kill(directory: Path, limit: int, choose: random.Random) -> tuple[int, list[Worker]]:
    """Executes a study, and kills workers at most `limit` times. Returns the number of kills and all workers."""
    kills, workers = 0, [Worker(directory, f"worker-{index}", choose) for index in range(WORKERS)]
    active = list(workers)
    while active:
        time.sleep(0.01)
        for index, one in enumerate(active):
            if kills < limit:
                one.kill_if_due()
            match one.end():
                case 0:
                    del active[index]
                    break
                case -9:
                    kills += 1
                    active[index] = Worker(directory, f"worker-{len(workers)}", choose)
                    workers.append(active[index])
    return kills, workers


def test_killed_workers_change_no_result(tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 2**32))
    print(f"KILL_SEED={seed}")
    choose = random.Random(seed)
    reference = Worker(create(tmp_path / "undisturbed"), "worker")
    kills = studies = repetitions = 0
    # A fast machine can end a study before all kills. The remaining ones then happen in another study.
    while kills < KILLS:
        directory = create(tmp_path / f"killed-{studies}")
        killed, workers = run_and_kill(directory, KILLS - kills, choose)
        assert killed, "no worker was killed"
        kills, studies = kills + killed, studies + 1
        assert reference.process.wait() == 0
        expected = results(tmp_path / "undisturbed")
        assert results(directory) == expected
        # No epoch was trained again after its checkpoint was saved, so the trials did resume.
        epochs = [line for one in workers for line in one.lines()]
        assert len(epochs) == len(set(epochs))
        trials = worker.create_study(directory).get_trials(deepcopy=False)
        repeated = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
        repetitions += len(repeated)
        print(f"{killed} kills, {len(repeated)} repeated trials, {len(epochs)} epochs reported")
    assert repetitions
    assert len(expected) == 16
    states = [state for state, *_ in expected.values()]
    reasons = [attributes[2] for _, _, attributes, _ in expected.values()]
    assert "PRUNED" in states and "COMPLETE" in states and "EarlyStopping" in reasons


def in_memory() -> Any:
    return optuna.create_study()


def test_an_early_stopped_trial_is_complete_and_a_diverged_one_is_not(tmp_path: Path) -> None:
    study = in_memory()
    settings: dict[str, Any] = {"hidden": 10, "batch_size": 100, "epochs": 30, "learning_rate": 2.0, "patience": 1}
    objective = tm_optuna.Objective(tmp_path, lambda trial: settings)
    study.optimize(objective, n_trials=1)
    first = study.trials[0]
    assert first.state == TrialState.COMPLETE and first.user_attrs["reason"] == "EarlyStopping"
    assert first.value == min(first.intermediate_values.values()) and first.user_attrs["epochs"] < 30
    assert tm.load(tmp_path / "trial-00000", best=True).step == first.user_attrs["best_epoch"]
    settings["nan_at"] = 5
    study.optimize(objective, n_trials=1)
    assert study.trials[1].state == TrialState.PRUNED and study.trials[1].user_attrs["reason"] == "NonFinite"


def test_the_best_value_has_the_direction_of_the_study(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    settings = {"hidden": 10, "batch_size": 100, "epochs": 4}
    study.optimize(tm_optuna.Objective(tmp_path, lambda trial: settings, metric="accuracy"), n_trials=1)
    assert study.best_value == max(study.trials[0].intermediate_values.values())


def test_a_grid_is_added_once(tmp_path: Path) -> None:
    study = in_memory()
    for _ in range(2):
        assert tm_optuna.add_grid(study, {"a": [1, 2, 3], "b": ["x", "y"]}) == 6
    assert len(study.trials) == 6


def test_the_failure_of_an_objective_is_raised_and_not_repeated(tmp_path: Path) -> None:
    study = worker.create_study(tmp_path)
    objective = tm_optuna.Objective(tmp_path / "trials", lambda trial: {"hidden": 11})
    with pytest.raises(ValueError, match="10, 16, 32, 64, 128 hidden units"):
        tm_optuna.optimize(study, objective, n_trials=1)
    tm_optuna.retry_lost_trials(study)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_trials_that_optuna_would_lose_are_repeated(tmp_path: Path) -> None:
    study = worker.create_study(tmp_path)
    # A worker was killed before its first heartbeat, and another one after it had noticed the failure of a trial.
    silent, failed = study.ask(), study.ask()
    study.tell(failed, state=TrialState.FAIL)
    tm_optuna.retry_lost_trials(study)
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "FAIL", "WAITING"]
    assert tm_optuna.first_trial_number(study.trials[2]) == 1
    study._storage._backend.grace_period = 0.001
    time.sleep(0.01)
    for _ in range(2):
        tm_optuna.retry_lost_trials(study)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL", "WAITING", "WAITING"]
    assert tm_optuna.first_trial_number(study.trials[3]) == silent.number
    assert datetime.now() - study.trials[0].datetime_start < timedelta(hours=1)


def test_a_worker_that_was_regarded_as_dead_continues_with_another_trial(tmp_path: Path) -> None:
    study = worker.create_study(tmp_path)
    events = []

    def on_epoch(trial: Any, epoch: tm.Epoch) -> None:
        events.append((trial.number, epoch.epoch))
        if events == [(0, 1)]:
            # Another worker decides that this one is dead.
            study.tell(trial.number, state=TrialState.FAIL)

    settings = {"hidden": 10, "batch_size": 100, "epochs": 3}
    tm_optuna.optimize(study, tm_optuna.Objective(tmp_path, lambda trial: settings, on_epoch=on_epoch), n_trials=1)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    # The repetition reports the first epoch again, but does not train it.
    assert events == [(0, 1), (1, 2), (1, 3)] and list(study.trials[1].intermediate_values) == [1, 2, 3]


@pytest.mark.parametrize("epoch_of_the_end", [1, 2])
def test_a_trial_that_two_workers_took_ends_once(tmp_path: Path, epoch_of_the_end: int) -> None:
    study = worker.create_study(tmp_path)

    def on_epoch(trial: Any, epoch: tm.Epoch) -> None:
        if epoch.epoch == epoch_of_the_end:
            # The other worker ends the trial first.
            study.tell(trial.number, 0.5)

    settings = {"hidden": 10, "batch_size": 100, "epochs": 2}
    tm_optuna.optimize(study, tm_optuna.Objective(tmp_path, lambda trial: settings, on_epoch=on_epoch), n_trials=1)
    assert [(trial.state.name, trial.value) for trial in study.trials] == [("COMPLETE", 0.5)]
