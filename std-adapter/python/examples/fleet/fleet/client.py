"""The node: trains a simulated device on the shard of its partition."""

from pathlib import Path

from flwr.app import Context
from training_monitor.flower import SimulatedDevice, client_app


def create_device(context: Context) -> SimulatedDevice:
    config, partition = context.run_config, int(context.node_config["partition-id"])
    return SimulatedDevice(
        Path(str(config["directory"])) / f"node-{partition}",
        (partition, int(config["partitions"])),
        epochs=int(config["epochs"]),
        learning_rate=float(config["learning-rate"]),
        schedule="constant",
    )


app = client_app(create_device)
