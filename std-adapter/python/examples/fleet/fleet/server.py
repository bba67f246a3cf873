"""The server: averages the weights of the devices, stops early and keeps the best rounds."""

from pathlib import Path
from tempfile import TemporaryDirectory

import training_monitor as tm
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from training_monitor.flower import MonitoredFedAvg, to_record
from training_monitor.handlers import EarlyStopping

app = ServerApp()


def initial_weights() -> dict[str, tm.Array]:
    """Returns the weights that a simulation draws from its seed."""
    with TemporaryDirectory() as directory, tm.Simulation(directory) as simulation:
        return simulation.weights()


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
    )
    strategy.start(grid, to_record(initial_weights()), num_rounds=int(config["rounds"]))
