"""The server: averages the weights of the devices, stops early and keeps the best rounds."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import training_monitor as tm
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from training_monitor.flower import MonitoredFedAvg, evaluate_weights, to_record, to_weights
from training_monitor.handlers import EarlyStopping

app = ServerApp()


def initial_weights() -> dict[str, Any]:
    """Returns the weights that a simulation draws from its seed."""
    with TemporaryDirectory() as directory, tm.Simulation(directory) as simulation:
        return simulation.weights()


def evaluate(round: int, arrays: ArrayRecord) -> MetricRecord:
    """Evaluates the global weights. All simulated devices have the same validation images, so the server evaluates."""
    loss, accuracy = evaluate_weights(to_weights(arrays))
    return MetricRecord({"val_loss": loss, "accuracy": accuracy})


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    strategy = MonitoredFedAvg(
        Path(str(config["directory"])) / "server",
        partitions=int(config["partitions"]),
        score_function=lambda metrics: -metrics["val_loss"],
        score_name="negative_loss",
        early_stopping=EarlyStopping(patience=int(config["patience"])),
        n_saved=3,
        evaluate_nodes=False,
    )
    initial = to_record(initial_weights())
    strategy.start(grid, initial, num_rounds=int(config["rounds"]), evaluate_fn=evaluate)
