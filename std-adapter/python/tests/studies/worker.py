"""A worker of the test study: `worker.py DIRECTORY`.

Prints a line for each epoch that it has trained: the number of the first trial of the chain of repetitions, and the
epoch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import optuna
import training_monitor as tm
from optuna.pruners import ThresholdPruner
from training_monitor import optuna as tm_optuna

#: The values of the grid. With a learning rate of 0.01, a run is pruned; with one of 1.5, it stops early.
GRID = {"learning_rate": [0.01, 0.05, 0.4, 1.5], "hidden": [16, 64], "schedule": ["constant", "cosine"]}


def create_study(directory: Path) -> optuna.Study:
    # The pruner looks at the own values of a trial only, so its decision does not depend on the order of the trials.
    pruner = ThresholdPruner(upper=0.5, n_warmup_steps=5)
    storage = tm_optuna.storage(directory / "study.db", heartbeat_interval=1, grace_period=3)
    return optuna.create_study(storage=storage, study_name="grid", pruner=pruner, load_if_exists=True)


def suggest(trial: optuna.Trial) -> dict[str, object]:
    values = {name: trial.suggest_categorical(name, choices) for name, choices in GRID.items()}
    return {**values, "epochs": 10, "batch_size": 16, "patience": 2}


def main(directory: Path) -> None:
    def on_epoch(trial: optuna.Trial, epoch: tm.Epoch) -> None:
        print(tm_optuna.first_trial_number(trial), epoch.epoch, flush=True)

    objective = tm_optuna.Objective(directory / "trials", suggest, on_epoch=on_epoch)
    study = create_study(directory)
    tm_optuna.optimize(study, objective, n_trials=tm_optuna.add_grid(study, GRID))


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main(Path(sys.argv[1]))
