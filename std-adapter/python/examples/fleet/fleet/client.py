"""The node: trains a simulated device, or a board at a serial port, on the shard of its partition."""

from pathlib import Path

from flwr.app import Context
from training_monitor.flower import Device, SimulatedDevice, client_app


def create_device(context: Context) -> Device:
    config, index = context.run_config, int(context.node_config["partition-id"])
    partition = (index, int(config["partitions"]))
    epochs, learning_rate = int(config["epochs"]), float(config["learning-rate"])
    if index == 0 and config["board"]:
        # Only a node with a board needs pyserial.
        from training_monitor.gateway import Gateway

        port = str(config["board"])
        return Gateway(port, partition=partition, local_epochs=epochs, learning_rate=learning_rate)
    return SimulatedDevice(
        Path(str(config["directory"])) / f"node-{index}",
        partition,
        epochs=epochs,
        learning_rate=learning_rate,
        schedule="constant",
    )


app = client_app(create_device)
