"""Which learning rate, schedule, patience and number of hidden units? A study with several workers.

    python hyperparameters.py [--directory DIRECTORY] [--trials N] [--epochs N] [--workers N]

Kill a worker, or all of them, at any time, and start the program again: the study continues, and each killed trial
resumes from its last checkpoint. At the end, the program writes pictures to the directory. It needs optuna and
matplotlib.
"""

import argparse
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import optuna
from optuna.visualization import matplotlib as pictures
from training_monitor.optuna import Objective, optimize, storage


def create_study(directory: Path) -> optuna.Study:
    return optuna.create_study(
        storage=storage(directory / "study.db", heartbeat_interval=2),
        study_name="digits",
        sampler=optuna.samplers.TPESampler(),
        # A trial is pruned if it is worse than most other trials at the same epoch.
        pruner=optuna.pruners.MedianPruner(n_warmup_steps=4),
        load_if_exists=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path("runs/study"))
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    # The study exists before the first worker opens it.
    study = create_study(arguments.directory)

    if arguments.worker:

        def suggest(trial: optuna.Trial) -> dict[str, object]:
            return {
                "epochs": arguments.epochs,
                "hidden": trial.suggest_categorical("hidden", [10, 16, 32, 64]),
                "learning_rate": trial.suggest_float("learning_rate", 0.01, 3.0, log=True),
                "patience": trial.suggest_int("patience", 1, 8),
                "schedule": trial.suggest_categorical("schedule", ["constant", "cosine", "plateau"]),
            }

        optimize(study, Objective(arguments.directory / "trials", suggest), arguments.trials)
        return

    command = [sys.executable, *sys.argv, "--worker"]
    workers = [subprocess.Popen(command) for _ in range(arguments.workers)]
    if any([worker.wait() for worker in workers]):
        sys.exit("a worker has failed; start the program again to continue the study")

    best = study.best_trial
    print(f"best trial {best.number}: validation loss {best.value:.4f}, {best.params}")
    print(f"test images correct: {best.user_attrs['test_accuracy']:.2%}, files: {best.user_attrs['directory']}")
    matplotlib.use("Agg")
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    for name, plot in {
        "history": pictures.plot_optimization_history,
        "epochs": pictures.plot_intermediate_values,
        "parameters": pictures.plot_slice,
        "importance": pictures.plot_param_importances,
    }.items():
        axes = plot(study)
        if name == "epochs":
            # One entry for each trial would be longer than the picture.
            axes.get_legend().remove()
        figure = axes.flat[0].figure if hasattr(axes, "flat") else axes.figure
        figure.savefig(arguments.directory / f"{name}.svg", bbox_inches="tight")
        print(f"picture {arguments.directory / name}.svg")


if __name__ == "__main__":
    main()
