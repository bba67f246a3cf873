"""The strategy `MonitoredFedAvg`, and the state of a fleet in a checkpoint."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result

from ._checkpoint import Checkpoint
from .handlers import EarlyStopping, ModelCheckpoint

Weights = dict[str, np.ndarray[Any, np.dtype[Any]]]
Metrics = dict[str, Any]

#: The keys of Flower's configuration of a node and of a round.
PARTITION = "partition-id"
ROUND = "server-round"
#: The metric of a reply that is its weight in the average.
EXAMPLES = "num-examples"
#: The record of a reply that contains the partition of the node.
NODE = "node"
_POLL_SECONDS = 0.5
_MAX_ERRORS = 10
_logger = logging.getLogger("flwr")


def to_weights(record: ArrayRecord) -> Weights:
    """Converts Flower's record to arrays by their names."""
    return {name: array.numpy() for name, array in record.items()}


def to_record(weights: Mapping[str, Any]) -> ArrayRecord:
    """Converts arrays by their names to Flower's record."""
    return ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in weights.items()})


class _Tensors:
    """An object of a checkpoint that consists of tensors."""

    def __init__(self, tensors: Weights) -> None:
        self._tensors = tensors

    def state_dict(self) -> Weights:
        return self._tensors


class _State:
    """The state of a fleet between two rounds. Its methods are those that `ModelCheckpoint` calls."""

    def __init__(self, weights: Weights, partitions: int, stopping: EarlyStopping | None) -> None:
        self.weights, self.partitions, self.stopping = weights, partitions, stopping
        self.round, self.is_stopped = 0, False
        #: The metrics of each round, by their source.
        self.metrics: dict[str, dict[int, Metrics]] = {"train": {}, "evaluate": {}, "server": {}}

    def objects(self) -> dict[str, Any]:
        """Returns the objects of a checkpoint: those of the weights, and this one."""
        tensors: dict[str, Weights] = {}
        for name, array in self.weights.items():
            object_name, _, short = _full_name(name).partition(".")
            tensors.setdefault(object_name, {})[short] = array
        return {**{name: _Tensors(entries) for name, entries in tensors.items()}, "fleet": self}

    def state_dict(self) -> dict[str, Any]:
        return {
            "round": self.round,
            "partitions": self.partitions,
            "is_stopped": self.is_stopped,
            "stopping": None if self.stopping is None else dict(self.stopping.state_dict()),
            "metrics": self.metrics,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["partitions"] != self.partitions:
            text = f"{state['partitions']} partitions, and this strategy has {self.partitions}"
            raise ValueError(f"the fleet of the checkpoint has {text}; use another directory")
        if self.stopping is not None and state["stopping"] is not None:
            self.stopping.load_state_dict(state["stopping"])
        self.round, self.is_stopped, self.metrics = state["round"], state["is_stopped"], state["metrics"]

    def load(self, checkpoint: Checkpoint) -> None:
        """Restores the state, and the weights, which must have the same names, types and shapes."""
        expected = {_full_name(name): _describe(array) for name, array in self.weights.items()}
        found = {name: _describe(array) for name, array in checkpoint.items()}
        for name in [*expected, *found]:
            if expected.get(name) != found.get(name):
                text = f"the checkpoint has {found.get(name, 'none')}, the initial weights {expected.get(name, 'none')}"
                raise ValueError(f"tensor {name}: {text}; use another directory")
        ModelCheckpoint.load_objects({"fleet": self}, checkpoint)
        self.weights = {name: checkpoint[_full_name(name)] for name in self.weights}


def _full_name(name: str) -> str:
    """Returns the name of a tensor in a checkpoint, as `save` chooses it."""
    return name if "." in name else f"model.{name}"


def _describe(array: np.ndarray[Any, np.dtype[Any]]) -> str:
    return f"{array.dtype} of shape {list(array.shape)}"


class MonitoredFedAvg(FedAvg):
    """Flower's FedAvg that stops early, keeps the best rounds, and continues after the server was killed.

    Every partition of the data trains in every round: a round ends when each partition, from 0 to `partitions` - 1, has
    replied. A node that connects during a round takes part in it, so a killed node can be started again. The replies
    are sorted by partition before Flower aggregates them, so their order does not change the bits. After `timeout`
    seconds without all replies, the round is repeated from the same global weights.

    After each round, one checkpoint in `directory` contains the global weights, the round number, the metrics of all
    rounds and the state of `early_stopping`. A new strategy with the same directory continues from it.

    `score_function` receives the metrics of the nodes and of `evaluate_fn`, and returns the score of the round. The
    best `n_saved` rounds are kept, and `early_stopping` ends the run. Without `evaluate_nodes`, the nodes train but do
    not evaluate. Other arguments are those of FedAvg, except those that select nodes.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        partitions: int,
        score_function: Callable[[Metrics], float] | None = None,
        score_name: str | None = None,
        early_stopping: EarlyStopping | None = None,
        n_saved: int = 1,
        evaluate_nodes: bool = True,
        **fedavg: Any,
    ) -> None:
        if early_stopping is not None and score_function is None:
            raise ValueError("early_stopping needs a score_function")
        for name in fedavg:
            if name.startswith(("fraction_", "min_")):
                raise ValueError(f"every partition trains in every round, so there is no argument {name}")
        super().__init__(
            min_train_nodes=partitions,
            min_evaluate_nodes=partitions if evaluate_nodes else 0,
            min_available_nodes=partitions,
            **fedavg,
        )
        self.directory, self.partitions = directory, partitions
        self.score_function, self.score_name, self.early_stopping = score_function, score_name, early_stopping
        self.n_saved, self.evaluate_nodes = n_saved, evaluate_nodes

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Runs the rounds that are missing, up to round `num_rounds`, unless the fleet has stopped early.

        The result contains the metrics of all rounds, and the global weights of the last one.
        """
        state = _State(to_weights(initial_arrays), self.partitions, self.early_stopping)
        latest = ModelCheckpoint(self.directory, "latest", require_empty=False)
        best = None
        if self.score_function is not None:
            best = ModelCheckpoint(
                self.directory, "best", self.score_function, self.score_name, self.n_saved, require_empty=False
            )
        checkpoint = latest.latest
        if checkpoint is not None:
            state.load(checkpoint)
            _logger.info("Continuing after round %d", state.round)
        elif evaluate_fn is not None:
            _store(state.metrics["server"], 0, evaluate_fn(0, initial_arrays))
        while state.round < num_rounds and not state.is_stopped:
            state.round += 1
            _logger.info("[ROUND %d/%d]", state.round, num_rounds)
            arrays = self._run_round(grid, state, timeout, train_config, evaluate_config)
            if evaluate_fn is not None:
                _store(state.metrics["server"], state.round, evaluate_fn(state.round, arrays))
            metrics: Metrics = {}
            for values in state.metrics.values():
                metrics.update(values.get(state.round, {}))
            _logger.info("Metrics: %s", metrics)
            score = None
            if self.score_function is not None:
                score = float(self.score_function(metrics))
                state.is_stopped = self.early_stopping is not None and self.early_stopping.update(score)
            if best is not None:
                best.update(state.round, state.objects(), score)
            # The commit of the round. If the server is killed before it, the round is repeated, with the same bits.
            latest.update(state.round, state.objects())
        if state.is_stopped:
            _logger.info("Stopped early after round %d", state.round)
        return _result(state)

    def _run_round(
        self,
        grid: Grid,
        state: _State,
        timeout: float,
        train_config: ConfigRecord | None,
        evaluate_config: ConfigRecord | None,
    ) -> ArrayRecord:
        """Trains and evaluates on the nodes. Changes the weights and the metrics of the state."""

        def exchange(arrays: ArrayRecord, config: ConfigRecord | None, message_type: str) -> list[Message]:
            config = ConfigRecord({**(config or {}), ROUND: state.round})
            content = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
            return self._exchange(grid, content, message_type, state.round, timeout)

        replies = exchange(to_record(state.weights), train_config, MessageType.TRAIN)
        arrays, metrics = self.aggregate_train(state.round, replies)
        if arrays is None:
            raise RuntimeError(f"round {state.round}: Flower aggregated no weights")
        state.weights = to_weights(arrays)
        _store(state.metrics["train"], state.round, metrics)
        if self.evaluate_nodes:
            replies = exchange(arrays, evaluate_config, MessageType.EVALUATE)
            _store(state.metrics["evaluate"], state.round, self.aggregate_evaluate(state.round, replies))
        return arrays

    def _exchange(
        self, grid: Grid, content: RecordDict, message_type: str, round: int, timeout: float
    ) -> list[Message]:
        """Sends the content to all nodes, until each partition has replied. Returns the replies by partition."""
        replies: dict[int, Message] = {}
        contacted: set[int] = set()
        pending: dict[str, int] = {}
        errors = 0
        deadline = time.monotonic() + timeout
        while True:
            for node in grid.get_node_ids():
                if node not in contacted:
                    message = Message(content=content, message_type=message_type, dst_node_id=node)
                    pending.update((identifier, node) for identifier in grid.push_messages([message]) if identifier)
                    contacted.add(node)
            for reply in list(grid.pull_messages(list(pending))) if pending else []:
                node = pending.pop(reply.metadata.reply_to_message_id)
                if not reply.has_error():
                    replies.setdefault(self._partition(node, reply), reply)
                    continue
                # The node receives the message again, if it is still connected.
                contacted.discard(node)
                _logger.warning("Node %d replied with an error: %s", node, reply.error.reason)
                errors += reply.error.code != ErrorCode.NODE_UNAVAILABLE
                if errors == _MAX_ERRORS:
                    text = f"{errors} replies are errors; the last one, of node {node}: {reply.error.reason}"
                    raise RuntimeError(f"round {round}: {text}")
            if len(replies) == self.partitions:
                return [replies[partition] for partition in range(self.partitions)]
            if time.monotonic() > deadline:
                missing = ", ".join(str(partition) for partition in range(self.partitions) if partition not in replies)
                _logger.warning("Round %d is repeated: no reply of partition %s", round, missing)
                replies, contacted, pending = {}, set(), {}
                deadline = time.monotonic() + timeout
            time.sleep(_POLL_SECONDS)

    def _partition(self, node: int, reply: Message) -> int:
        """Returns the partition of the node that sent the reply."""
        record = reply.content.config_records.get(NODE, ConfigRecord())
        partition = record.get(PARTITION)
        if not isinstance(partition, int) or partition not in range(self.partitions):
            expected = f"expected an integer from 0 to {self.partitions - 1}"
            raise ValueError(f"node {node} has the {PARTITION} {partition!r}; {expected}")
        return partition


def _store(metrics: dict[int, Metrics], round: int, record: MetricRecord | None) -> None:
    if record is not None:
        metrics[round] = dict(record)


def _result(state: _State) -> Result:
    records = [
        {round: MetricRecord(values) for round, values in state.metrics[source].items()}
        for source in ("train", "evaluate", "server")
    ]
    return Result(to_record(state.weights), *records)
