"""How often should a device save? Forward progress under power failures, against the life of its flash memory.

    python save_interval.py [--directory DIRECTORY] [--trials N] [--on-time SECONDS] [--years YEARS]

Each trial selects a memory and an interval, and simulates a device whose power fails again and again. The study has
two objectives: the useful share of the time, and the years until the memory is worn out. The program prints the best
interval of each memory that lasts long enough, and writes a picture of the trade-off. It needs optuna and matplotlib.

The durations of a save and of a recovery are those that the program `forward-progress` measures with the real store on
a simulated memory; see docs/forward-progress.md. The device here is a model with these durations: the iterations that
follow the last save are lost when the power fails.
"""

import argparse
import random
from pathlib import Path
from typing import NamedTuple

import matplotlib
import optuna

YEAR = 365.25 * 24 * 3600


class Memory(NamedTuple):
    """The durations in seconds of a save and of a recovery, and how many erases the slots endure together."""

    save: float
    recovery: float
    erases: float


MEMORIES = {
    "nRF52840": Memory(0.359, 0.001, 16 * 10_000),
    "STM32F4": Memory(1.04, 0.001, 4 * 10_000),
    "RP2040": Memory(0.155, 0.001, 4 * 100_000),
    "SPI NOR": Memory(0.176, 0.22, 16 * 100_000),
}


def simulate(memory: Memory, interval: float, on_time: float, failures: int, seed: int) -> tuple[float, float]:
    """Returns the useful share of the time with power, and the years until the memory is worn out."""
    choose = random.Random(seed)
    powered = useful = saves = 0.0
    for _ in range(failures):
        time = choose.expovariate(1 / on_time)
        complete, rest = divmod(max(time - memory.recovery, 0), interval + memory.save)
        powered += time
        useful += complete * interval
        # A save that the failure interrupts has erased its slot, too.
        saves += complete + (rest > interval)
    years = memory.erases * powered / saves / YEAR if saves > 0 else float("inf")
    return useful / powered, years


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path("runs/save-interval"))
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--on-time", type=float, default=600, help="mean time between two failures, in seconds")
    parser.add_argument("--years", type=float, default=5, help="the memory must last at least this time")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        memory = MEMORIES[trial.suggest_categorical("memory", list(MEMORIES))]
        interval = trial.suggest_float("interval", 1, 7200, log=True)
        # All trials have the same failures, so that their difference is that of the intervals.
        return simulate(memory, interval, arguments.on_time, failures=2000, seed=1)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(directions=["maximize", "maximize"], sampler=sampler)
    study.optimize(objective, n_trials=arguments.trials)

    for name in MEMORIES:
        trials = [trial for trial in study.trials if trial.params["memory"] == name]
        lasting = [trial for trial in trials if trial.values[1] >= arguments.years]
        if not lasting:
            print(f"{name:9} no interval lasts {arguments.years:g} years")
            continue
        best = max(lasting, key=lambda trial: trial.values[0])
        share, years = best.values
        print(f"{name:9} save every {best.params['interval']:6.1f} s: {share:.1%} useful, lasts {years:.1f} years")

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name in MEMORIES:
        values = sorted(trial.values for trial in study.trials if trial.params["memory"] == name)
        axes.plot([years for _, years in values], [share for share, _ in values], ".", label=name)
    axes.axvline(arguments.years, color="gray", linestyle="--")
    axes.set(xscale="log", xlabel="years until the memory is worn out", ylabel="useful share of the time")
    axes.legend()
    figure.savefig(arguments.directory / "trade-off.svg", bbox_inches="tight")
    print(f"picture {arguments.directory / 'trade-off.svg'}")


if __name__ == "__main__":
    main()
