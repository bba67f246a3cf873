"""`Simulation`: the same runs as the program `digits`, epoch by epoch."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import training_monitor as tm

#: A run that stops early, and that is short.
SETTINGS: dict[str, Any] = {"epochs": 12, "hidden": 16, "batch_size": 50, "patience": 3, "seed": 4}


def finish(directory: Path, **settings: Any) -> tm.Simulation:
    simulation = tm.Simulation(directory, **settings)
    for _ in simulation:
        pass
    return simulation


def result(simulation: tm.Simulation) -> tuple[Any, ...]:
    weights = {name: array.tobytes() for name, array in simulation.weights().items()}
    return simulation.checksum, simulation.outcome, simulation.best, simulation.test, simulation.history, weights


def test_a_run_yields_its_epochs_and_ends_with_an_outcome(tmp_path: Path) -> None:
    with tm.Simulation(tmp_path / "run", **SETTINGS) as simulation:
        assert simulation.resumed is None and simulation.outcome is None and simulation.history == []
        first = next(simulation)
        assert first.epoch == 1 and 0 < first.val_loss < 2.3 and 0.5 < first.accuracy < 1
        assert first.gradient_norm is not None and 0 < first.learning_rate <= 0.4
        # The checkpoints of the epoch are saved, and contain the weights.
        stored = tm.load(tmp_path / "run", series="latest")
        assert stored.run is not None and stored.run["epoch"] == 1
        assert simulation.best is None and simulation.test is None and simulation.outcome is None
        for name, array in simulation.weights().items():
            assert array.tobytes() == stored[name].tobytes(), name
        rest = list(simulation)
    assert [epoch.epoch for epoch in [first, *rest]] == list(range(1, len(rest) + 2))
    assert simulation.history == [first, *rest]
    outcome = simulation.outcome
    assert outcome is not None and outcome.reason in ("MaxEpochs", "EarlyStopping") and outcome.epoch == rest[-1].epoch
    best = min([first, *rest], key=lambda epoch: epoch.val_loss)
    assert simulation.best == best.epoch and simulation.test is not None and simulation.test.accuracy > 0.9
    assert tm.load(tmp_path / "run", best=True).step == best.epoch
    assert list(simulation) == []
    assert (tmp_path / "run" / "run.svg").exists()


def test_the_settings_are_those_of_the_command_line(tmp_path: Path) -> None:
    with tm.Simulation(tmp_path / "a") as simulation:
        assert simulation.settings == {
            "batch_size": 16,
            "clip": 1.0,
            "epochs": 30,
            "hidden": 32,
            "initial_weights": None,
            "learning_rate": 0.4,
            "momentum": 0.5,
            "n_saved": 3,
            "partition": None,
            "patience": 5,
            "quantized": False,
            "schedule": "cosine",
            "schedule_epochs": 30,
            "seed": 1,
            "time_limit": None,
        }
    with tm.Simulation(tmp_path / "b", clip=None, quantized=True, epochs=np.int64(2), partition=(1, 8)) as simulation:
        assert simulation.settings["clip"] is None and simulation.settings["momentum"] == 0
        assert simulation.settings["quantized"] is True and simulation.settings["partition"] == (1, 8)
        assert next(simulation).gradient_norm is None
    stored = tm.load(tmp_path / "b").metadata
    assert stored["partition"] == b"1/8" and "initial_weights" not in stored


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"batch_size": 0}, r"invalid value '0' for '--batch-size <IMAGES>': 0 is not in 1..=1200"),
        ({"learning_rate": float("nan")}, "'--learning-rate <RATE>': expected a number greater than 0 and at most 10"),
        ({"hidden": 20}, "this program contains the networks with 10, 16, 32, 64, 128 hidden units"),
        ({"schedule": "linear"}, r"(?s)'linear' for '--schedule <SCHEDULE>'.*constant, cosine, plateau"),
        ({"quantized": True, "momentum": 0.5}, "--momentum 0.5 cannot be used with 8-bit weights"),
        ({"partition": (8, 8)}, r"partition \(8, 8\): expected an index that is less than the count"),
    ],
)
def test_invalid_settings_change_nothing(tmp_path: Path, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tm.Simulation(tmp_path / "run", **settings)
    assert list(tmp_path.iterdir()) == []


def test_other_settings_than_those_of_the_resumed_run_are_refused(tmp_path: Path) -> None:
    with tm.Simulation(tmp_path, **SETTINGS, partition=(0, 2)) as simulation:
        next(simulation)
        weights = simulation.weights()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for settings, text in [
        ({"seed": 5}, "--seed 5 cannot be used to resume the run in .*, which has the value 4"),
        ({"partition": (1, 2)}, "partition 1/2 cannot be used to resume the run in .*, which has the value 0/2"),
        ({"weights": weights}, r"initial weights with the CRC-32 \d+ cannot be used to resume .* the value none"),
    ]:
        with pytest.raises(ValueError, match=text):
            tm.Simulation(tmp_path, **settings)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with tm.Simulation(tmp_path, epochs=13) as simulation:
        assert simulation.settings["partition"] == (0, 2) and simulation.resumed == 1
        assert simulation.notes[0] == "--epochs 13 replaces the value 12 of the resumed run"
    with tm.Simulation(tmp_path, resume=False) as simulation:
        assert simulation.resumed is None and "renamed the directory" in simulation.notes[0]
    assert (tmp_path.parent / f"{tmp_path.name}.1").is_dir()


@pytest.mark.parametrize("quantized", [False, True])
def test_a_run_starts_with_the_given_weights(tmp_path: Path, quantized: bool) -> None:
    settings = {**SETTINGS, "quantized": quantized, "epochs": 3}
    first = finish(tmp_path / "first", **settings)
    weights = first.weights()
    with tm.Simulation(tmp_path / "run", **settings, weights=weights) as simulation:
        for name, array in simulation.weights().items():
            assert array.tobytes() == weights[name].tobytes() and array.dtype == weights[name].dtype, name
        next(simulation)
    crc = simulation.settings["initial_weights"]
    # The run resumes with the same weights, or without the argument.
    for given in [weights, None]:
        with tm.Simulation(tmp_path / "run", weights=given) as simulation:
            assert simulation.resumed == 1 and simulation.settings["initial_weights"] == crc
    other = {name: array.copy() for name, array in weights.items()}
    other["model.fc2.bias"][0] += 1
    with pytest.raises(ValueError, match=f"CRC-32 .*which has the value {crc};"):
        tm.Simulation(tmp_path / "run", weights=other)
    assert result(finish(tmp_path / "run")) == result(finish(tmp_path / "undisturbed", **settings, weights=weights))
    assert finish(tmp_path / "run").checksum != first.checksum


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model.fc1.bias": None}, r"weights: .*fc1\.bias"),
        ({"model.fc3.bias": np.zeros(3, np.float32)}, r"weights: .*fc3\.bias"),
        ({"optimizer.momentum": np.zeros((), np.float32)}, r"weights: the model has no tensor optimizer\.momentum"),
        ({"model.fc1.bias": np.zeros(17, np.float32)}, r"weights: .*fc1\.bias.*16.*17|weights: .*fc1\.bias.*17.*16"),
        ({"model.fc1.bias": np.zeros((16, 1), np.float32)}, r"weights: .*fc1\.bias"),
        ({"model.fc1.bias": np.zeros(16, np.float64)}, r"weights: .*fc1\.bias.*f64|weights: .*fc1\.bias.*f32"),
        ({"model.fc1.bias": np.full(16, np.nan, np.float32)}, r"weights: .*fc1\.bias.*NaN"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    with tm.Simulation(tmp_path / "run", **SETTINGS) as simulation:
        weights = simulation.weights()
    weights = {name: array for name, array in {**weights, **change}.items() if array is not None}
    with pytest.raises(ValueError, match=text):
        tm.Simulation(tmp_path / "other", **SETTINGS, weights=weights)
    assert not (tmp_path / "other").exists()


def test_a_partition_is_a_part_of_the_training_images(tmp_path: Path) -> None:
    checksums = set()
    for partition in [None, (0, 1), (0, 4), (3, 4)]:
        name = str(partition)
        simulation = finish(tmp_path / name, epochs=1, hidden=10, batch_size=100, partition=partition)
        assert simulation.outcome is not None
        images = 1200 // (partition or (0, 1))[1]
        assert simulation.outcome.iteration == images // 100
        checksums.add(simulation.checksum)
    # The whole shard has the same order as all images.
    assert len(checksums) == 3


def test_a_nan_and_a_time_limit_end_the_run(tmp_path: Path) -> None:
    simulation = finish(tmp_path / "nan", **SETTINGS, nan_at=10)
    assert simulation.outcome == ("NonFinite", 1, 10) and simulation.best is None and simulation.history == []
    limited = finish(tmp_path / "limited", **{**SETTINGS, "time_limit": 0.001})
    assert limited.outcome is not None and limited.outcome.reason == "TimeLimit" and len(limited.history) == 1
    assert finish(tmp_path / "limited").outcome == limited.outcome
    assert result(finish(tmp_path / "limited", time_limit=None)) == result(finish(tmp_path / "whole", **SETTINGS))


def test_a_run_that_is_closed_resumes_with_the_same_bits(tmp_path: Path) -> None:
    expected = finish(tmp_path / "undisturbed", **SETTINGS)
    directory = tmp_path / "run"
    for completed in range(1, 4):
        with tm.Simulation(directory, **SETTINGS) as simulation:
            epoch = next(simulation)
            with pytest.raises(BlockingIOError, match="has the checkpoints open for writing"):
                tm.Simulation(directory)
        assert epoch == expected.history[completed - 1]
        assert simulation.outcome is not None and simulation.outcome.reason == "Interrupted"
        assert simulation.resumed == (completed - 1 or None)
    # Without a call of `close`, the end of the object closes the directory.
    simulation = tm.Simulation(directory)
    assert simulation.resumed == 3 and simulation.history == expected.history[:3]
    del simulation
    assert result(finish(directory)) == result(expected)
    finished = tm.Simulation(directory)
    assert list(finished) == [] and result(finished) == result(expected)
    # Closed before the first step.
    tm.Simulation(tmp_path / "unused", **SETTINGS).close()
    assert result(finish(tmp_path / "unused")) == result(expected)


def test_a_killed_run_resumes_with_the_same_bits(tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 2**32))
    print(f"KILL_SEED={seed}")
    choose = random.Random(seed)
    expected = finish(tmp_path / "undisturbed", **SETTINGS)
    directory = tmp_path / "run"
    program = f"""
        import training_monitor as tm
        for epoch in tm.Simulation({str(directory)!r}, **{SETTINGS}):
            print(epoch.epoch, flush=True)
    """
    arguments = [sys.executable, "-c", textwrap.dedent(program)]
    kills = 0
    while kills < 8:
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(choose.random() * 0.03)
            process.kill()
        kills += process.returncode != 0
        if process.returncode == 0:
            break
    assert kills > 0
    assert result(finish(directory, **SETTINGS)) == result(expected)


@pytest.mark.skipif(os.name != "posix", reason="the test sends a signal")
def test_ctrl_c_interrupts_the_wait_and_other_threads_continue(tmp_path: Path) -> None:
    # An epoch of the largest network with one image per step takes long enough for the other thread.
    program = f"""
        import signal, sys, threading
        import training_monitor as tm
        signal.signal(signal.SIGINT, signal.default_int_handler)
        simulation = tm.Simulation({str(tmp_path)!r}, hidden=128, batch_size=1, epochs=10_000, patience=10_000)
        threading.Thread(target=lambda: print("ready", flush=True)).start()
        try:
            for _ in simulation:
                pass
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        simulation.close()
        print(simulation.outcome.reason, flush=True)
    """
    arguments = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        # The wait has begun by then. If it has not, the program ends in the same way.
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.communicate()[0] == "interrupted\nInterrupted\n"
    assert process.returncode == 0


def test_a_failed_save_raises_os_error(tmp_path: Path) -> None:
    simulation = tm.Simulation(tmp_path / "run", **SETTINGS)
    next(simulation)
    (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.warns(RuntimeWarning), pytest.raises(OSError, match="could not be saved"):
        for _ in simulation:
            pass
    simulation.close()
