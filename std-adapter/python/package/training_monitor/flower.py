"""Fleets of devices with Flower.

`client_app` creates a `ClientApp` that trains a device: the simulation of this package, or any other object with the
method `train`. `MonitoredFedAvg` is Flower's FedAvg that stops early, keeps the best rounds, and continues after the
server was killed. A fleet ends with the same bits, no matter how often its nodes and its server are interrupted.

The module needs Flower, whose package is `flwr`.
"""

from __future__ import annotations

import os
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from ._fleet import EXAMPLES, NODE, PARTITION, ROUND, Metrics, MonitoredFedAvg, Weights, to_record, to_weights
from ._native import training_images
from ._simulation import Simulation, evaluate_weights

__all__ = ["Device", "MonitoredFedAvg", "SimulatedDevice", "client_app", "evaluate_weights", "to_record", "to_weights"]


class Device(Protocol):
    """A device that a node of the fleet trains. A device that takes part in evaluation also has `evaluate`."""

    def train(self, weights: Weights, round: int) -> tuple[Weights, Metrics]:
        """Trains the device from the global weights of a round. Returns its weights and metrics.

        A repeated call with the same arguments must return the same bits. The metric `num-examples` is the weight of
        the device in the average; the default is 1.
        """


class SimulatedDevice:
    """A simulated device: it trains the digits network on its shard of the training images.

    Each round is a run of its own in `directory`. If the node is killed in a round, the repeated round resumes from the
    checkpoint of its run. If the run had finished, its result is returned without training. The runs of the current and
    the previous round are kept. `partition` and `settings` are arguments of `Simulation`; `epochs` is the number of
    epochs in a round.
    """

    def __init__(
        self, directory: str | os.PathLike[str], partition: tuple[int, int], epochs: int = 1, **settings: Any
    ) -> None:
        self._directory, self._partition, self._epochs, self._settings = Path(directory), partition, epochs, settings

    def train(self, weights: Weights, round: int) -> tuple[Weights, Metrics]:
        """Trains one round from the global weights."""
        # A fleet that starts over in the same directory has other weights in the same round, so the name of the run
        # contains their checksum.
        directory = self._directory / f"round-{round}-{_checksum(weights):08x}"
        directory.parent.mkdir(parents=True, exist_ok=True)
        with Simulation(
            directory, epochs=self._epochs, weights=weights, partition=self._partition, **self._settings
        ) as run:
            self._remove_rounds(round)
            for _ in run:
                pass
            if not run.history:
                raise RuntimeError(f"{directory}: the run ended in its first epoch: {run.outcome}")
            epoch, weights = run.history[-1], run.weights()
        metrics = {"loss": epoch.loss, "val_loss": epoch.val_loss, "accuracy": epoch.accuracy}
        return weights, {**metrics, EXAMPLES: training_images(*self._partition)}

    def evaluate(self, weights: Weights, round: int) -> Metrics:
        """Returns the loss and the accuracy of the global weights on the validation images."""
        metrics = evaluate_weights(weights, self._settings.get("hidden"))
        return {"val_loss": metrics.loss, "accuracy": metrics.accuracy}

    def _remove_rounds(self, current: int) -> None:
        for path in self._directory.iterdir():
            match = re.fullmatch(r"round-(\d+)-[0-9a-f]{8}", path.name)
            if match and int(match[1]) < current - 1:
                shutil.rmtree(path)


def _checksum(weights: Weights) -> int:
    checksum = 0
    for name, array in weights.items():
        checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), zlib.crc32(name.encode(), checksum))
    return checksum


def client_app(create_device: Callable[[Context], Device]) -> ClientApp:
    """Returns a `ClientApp` that trains and evaluates the device that `create_device` returns.

    `create_device` is called for each message. The configuration of the node must contain `partition-id`, as in
    Flower's simulation engine. If the device has a method `close`, it is called after the message.
    """
    app = ClientApp()

    def reply(message: Message, context: Context, use: Callable[[Device, Weights, int], dict[str, Any]]) -> Message:
        if PARTITION not in context.node_config:
            raise ValueError(f"the configuration of the node has no {PARTITION}; start it with --node-config")
        (arrays,) = message.content.array_records.values()
        (config,) = message.content.config_records.values()
        device = create_device(context)
        try:
            records = use(device, to_weights(arrays), cast(int, config[ROUND]))
        finally:
            close = getattr(device, "close", None)
            if close is not None:
                close()
        records[NODE] = ConfigRecord({PARTITION: int(context.node_config[PARTITION])})
        return Message(content=RecordDict(records), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        def use(device: Device, weights: Weights, round: int) -> dict[str, Any]:
            weights, metrics = device.train(weights, round)
            return {"arrays": to_record(weights), "metrics": MetricRecord({EXAMPLES: 1, **metrics})}

        return reply(message, context, use)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        def use(device: Any, weights: Weights, round: int) -> dict[str, Any]:
            return {"metrics": MetricRecord({EXAMPLES: 1, **device.evaluate(weights, round)})}

        return reply(message, context, use)

    return app
