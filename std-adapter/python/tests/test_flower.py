"""The strategy and the client for Flower, without processes. `tests/fleet/run.py` runs whole fleets."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import training_monitor as tm
from conftest import REPOSITORY
from training_monitor.handlers import EarlyStopping

pytest.importorskip("flwr")
from flwr.app import ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity
from training_monitor import _fleet
from training_monitor.flower import MonitoredFedAvg, SimulatedDevice, client_app, to_record, to_weights

PARTITIONS = 5
INITIAL = {"model.weight": np.linspace(-1, 1, 7, dtype=np.float32), "scale": np.full((2, 1), 3, np.float64)}
TARGETS = np.random.default_rng(7).normal(size=(PARTITIONS, 7)).astype(np.float32)


class NumpyDevice:
    """A device whose weights approach a target. The loss has its minimum in round 4, and then rises."""

    def __init__(self, partition: int) -> None:
        self.partition = partition % PARTITIONS

    def train(self, weights: dict[str, Any], round: int) -> tuple[dict[str, Any], dict[str, Any]]:
        weight = weights["model.weight"]
        weight = weight + (TARGETS[self.partition] - weight) * np.float32(0.3)
        return {**weights, "model.weight": weight}, {"num-examples": 10 + self.partition, "loss": float(weight.sum())}

    def evaluate(self, weights: dict[str, Any], round: int) -> dict[str, Any]:
        return {"val_loss": abs(round - 4) + self.partition / 3}


class FakeGrid:
    """Executes the client app in this process, and delivers the replies in random order."""

    def __init__(self, seed: int = 0, app: ClientApp | None = None) -> None:
        self.random = random.Random(seed)
        self.app = app or client_app(lambda context: NumpyDevice(int(context.node_config["partition-id"])))
        self.nodes = {100 + partition: partition for partition in range(PARTITIONS)}
        self.replies: dict[str, Message] = {}
        self.sent: list[tuple[int, str, int]] = []
        #: Called with the node and the round before a message is executed. Returns whether the message is lost.
        self.is_lost: Callable[[int, int], bool] = lambda node, round: False

    def get_node_ids(self) -> Iterable[int]:
        return self.random.sample(sorted(self.nodes), len(self.nodes))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            node, round = message.metadata.dst_node_id, int(message.content["config"]["server-round"])
            identifier = str(len(self.sent))
            message.metadata.__dict__["_message_id"] = identifier
            self.sent.append((node, message.metadata.message_type, round))
            if node in self.nodes and not self.is_lost(node, round):
                config = {"partition-id": self.nodes[node]}
                context = Context(1, node, config, RecordDict(), {})
                try:
                    self.replies[identifier] = self.app(message, context)
                except Exception as error:
                    self.replies[identifier] = Message(Error(2, str(error.__cause__ or error)), reply_to=message)
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        ready = [identifier for identifier in message_ids if identifier in self.replies]
        # One reply at a time, so that the order of the replies is random.
        return [self.replies.pop(identifier) for identifier in self.random.sample(ready, min(len(ready), 1))]


@pytest.fixture(autouse=True)
def flower(monkeypatch: pytest.MonkeyPatch) -> None:
    # A message has the numbers of the run, which Flower sets in its own processes.
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    # The clock advances only when the strategy sleeps.
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr(_fleet, "time", clock)


def strategy(directory: Path, patience: int = 2, **arguments: Any) -> MonitoredFedAvg:
    return MonitoredFedAvg(
        directory,
        PARTITIONS,
        lambda metrics: -metrics["val_loss"],
        "negative_loss",
        EarlyStopping(patience),
        2,
        **arguments,
    )


def run(directory: Path, grid: Any = None, rounds: int = 20, timeout: float = 3600, **arguments: Any) -> Any:
    return strategy(directory).start(grid or FakeGrid(), to_record(INITIAL), rounds, timeout, **arguments)


def bits(result: Any) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in to_weights(result.arrays).items()}


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of docs/fleets.md, of which the last one reads the checkpoints of a fleet."""
    monkeypatch.chdir(tmp_path)
    run(Path("runs/fleet/server"))
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/fleets.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/fleets.md", "exec"), namespace)
    assert namespace["weights"].step == 4
    device = namespace["create_device"](SimpleNamespace(node_config={"partition-id": 3}))
    assert device.train(initial(tmp_path / "initial"), 1)[1]["num-examples"] == 150


def test_the_fleet_stops_early_and_keeps_the_best_rounds(tmp_path: Path) -> None:
    grid = FakeGrid()
    result = run(tmp_path, grid)
    assert sorted(result.evaluate_metrics_clientapp) == [1, 2, 3, 4, 5, 6]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".ckpt") == [
        "best_checkpoint_3_negative_loss=1.666667.ckpt",
        "best_checkpoint_4_negative_loss=0.6666667.ckpt",
        "latest_checkpoint_6.ckpt",
    ]
    best = tm.load(tmp_path, best=True)
    assert (best.step, list(best)) == (4, ["model.weight", "model.scale"])
    assert best["model.scale"].tolist() == [[3], [3]]
    assert len(grid.sent) == 2 * 6 * PARTITIONS
    # A fleet that has ended sends nothing, and has the same result.
    grid = FakeGrid()
    again = run(tmp_path, grid)
    assert bits(again) == bits(result) and grid.sent == []
    assert again.train_metrics_clientapp == result.train_metrics_clientapp
    assert again.evaluate_metrics_clientapp == result.evaluate_metrics_clientapp


def test_the_order_of_the_replies_does_not_change_the_bits(tmp_path: Path) -> None:
    results = [run(tmp_path / str(seed), FakeGrid(seed)) for seed in range(10)]
    assert len({tuple(bits(result).items()) for result in results}) == 1
    # The test can fail: another order of the sum has other bits.
    devices = [NumpyDevice(partition) for partition in range(PARTITIONS)]
    weights = {name: array for name, array in INITIAL.items()}
    sums = set()
    for order in [range(PARTITIONS), reversed(range(PARTITIONS)), [2, 0, 4, 1, 3]]:
        total = np.zeros(7, np.float32)
        for partition in order:
            trained, metrics = devices[partition].train(weights, 1)
            total += trained["model.weight"] * (metrics["num-examples"] / 60)
        sums.add(total.tobytes())
    assert len(sums) > 1


def test_a_round_without_a_reply_is_repeated(tmp_path: Path) -> None:
    expected = run(tmp_path / "undisturbed")
    grid, lost = FakeGrid(), []

    def is_lost(node: int, round: int) -> bool:
        if round in (2, 5) and node == 103 and lost.count(round) < 2:
            lost.append(round)
            return True
        return False

    grid.is_lost = is_lost
    result = run(tmp_path / "disturbed", grid, timeout=10)
    assert lost == [2, 2, 5, 5]
    assert bits(result) == bits(expected)
    assert len(grid.sent) == (2 * 6 + 4) * PARTITIONS


def test_a_node_that_connects_during_a_round_takes_part_in_it(tmp_path: Path) -> None:
    expected = run(tmp_path / "undisturbed")
    grid = FakeGrid()

    def is_lost(node: int, round: int) -> bool:
        if round == 3 and node == 102:
            # The node was killed and started again, with another identifier. The old one is still listed.
            grid.nodes[202] = 2
            return True
        return node == 102 and 202 in grid.nodes

    grid.is_lost = is_lost
    assert bits(run(tmp_path / "disturbed", grid)) == bits(expected)


def test_a_node_that_fails_is_asked_again_and_finally_reported(tmp_path: Path) -> None:
    failures = []

    class Failing(NumpyDevice):
        def train(self, weights: Any, round: int) -> Any:
            if self.partition == 1 and round == 2 and len(failures) < limit:
                failures.append(round)
                raise OSError("the board does not reply")
            return super().train(weights, round)

    app = client_app(lambda context: Failing(int(context.node_config["partition-id"])))
    limit = 3
    assert bits(run(tmp_path / "a", FakeGrid(app=app))) == bits(run(tmp_path / "b"))
    failures.clear()
    limit = 100
    text = r"round 2: 10 replies are errors; the last one, of node 101: the board does not reply"
    with pytest.raises(RuntimeError, match=text):
        run(tmp_path / "c", FakeGrid(app=app))
    # The fleet continues from the last round that had ended.
    limit = 0
    assert bits(run(tmp_path / "c", FakeGrid(app=app))) == bits(run(tmp_path / "b"))


@pytest.mark.parametrize("series", ["best", "latest"])
@pytest.mark.parametrize("after", [False, True])
def test_a_killed_server_continues_from_its_checkpoint(
    series: str, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is killed before or after each save of a series."""
    expected = run(tmp_path / "undisturbed")
    names = {path.name for path in (tmp_path / "undisturbed").iterdir()}
    update, kills = _fleet.ModelCheckpoint.update, []

    class Killed(BaseException):
        pass

    def killed(self: Any, step: int, *arguments: Any) -> bool:
        hit = self.filename_prefix == series and step not in kills
        if hit:
            kills.append(step)
        if not hit or after:
            update(self, step, *arguments)
        if hit:
            raise Killed
        return True

    monkeypatch.setattr(_fleet.ModelCheckpoint, "update", killed)
    for seed in range(20):
        try:
            result = run(tmp_path / "disturbed", FakeGrid(seed))
            break
        except Killed:
            pass
    assert kills == [1, 2, 3, 4, 5, 6]
    assert bits(result) == bits(expected)
    assert result.evaluate_metrics_clientapp == expected.evaluate_metrics_clientapp
    assert {path.name for path in (tmp_path / "disturbed").iterdir()} == names


def test_the_fleet_continues_when_the_number_of_rounds_grows(tmp_path: Path) -> None:
    for rounds in [1, 2, 5]:
        result = run(tmp_path / "grown", rounds=rounds)
        assert sorted(result.train_metrics_clientapp) == list(range(1, rounds + 1))
    assert bits(run(tmp_path / "grown")) == bits(run(tmp_path / "undisturbed"))


def test_the_server_evaluates_the_global_weights(tmp_path: Path) -> None:
    rounds = []

    def evaluate(round: int, arrays: ArrayRecord) -> MetricRecord:
        rounds.append(round)
        return MetricRecord({"val_loss": abs(round - 2.0), "sum": float(to_weights(arrays)["model.weight"].sum())})

    def start() -> Any:
        fleet = strategy(tmp_path, evaluate_nodes=False)
        return fleet.start(FakeGrid(), to_record(INITIAL), 9, evaluate_fn=evaluate)

    result = start()
    assert rounds == [0, 1, 2, 3, 4] == list(result.evaluate_metrics_serverapp)
    assert result.evaluate_metrics_clientapp == {}
    assert result.evaluate_metrics_serverapp == start().evaluate_metrics_serverapp
    assert rounds == [0, 1, 2, 3, 4]


def test_a_checkpoint_of_another_fleet_is_refused(tmp_path: Path) -> None:
    run(tmp_path, rounds=1)
    other = MonitoredFedAvg(tmp_path, 4)
    with pytest.raises(ValueError, match="the fleet of the checkpoint has 5 partitions, and this strategy has 4"):
        other.start(FakeGrid(), to_record(INITIAL))
    del other
    text = r"tensor model.weight: the checkpoint has float32 of shape \[7\], the initial weights float32 of shape \[3\]"
    with pytest.raises(ValueError, match=text):
        strategy(tmp_path).start(FakeGrid(), to_record({**INITIAL, "model.weight": np.zeros(3, np.float32)}))


def test_invalid_partitions_are_refused(tmp_path: Path) -> None:
    grid = FakeGrid()
    grid.nodes[100] = PARTITIONS
    with pytest.raises(ValueError, match="node 100 has the partition-id 5; expected an integer from 0 to 4"):
        run(tmp_path, grid)
    with pytest.raises(ValueError, match="early_stopping needs a score_function"):
        MonitoredFedAvg(tmp_path, 2, early_stopping=EarlyStopping(1))
    with pytest.raises(
        ValueError, match="every partition trains in every round, so there is no argument fraction_train"
    ):
        MonitoredFedAvg(tmp_path, 2, fraction_train=0.5)


def test_a_node_without_a_partition_and_closed_devices() -> None:
    closed = []
    device = SimpleNamespace(evaluate=lambda weights, round: {"val_loss": 1.0}, close=lambda: closed.append(1))
    app = client_app(lambda context: device)  # type: ignore[arg-type,return-value]
    content = RecordDict({"arrays": to_record(INITIAL), "config": _fleet.ConfigRecord({"server-round": 1})})
    message = Message(content=content, message_type="evaluate", dst_node_id=1)
    reply = app(message, Context(1, 1, {"partition-id": 0}, RecordDict(), {}))
    assert reply.content["metrics"] == {"num-examples": 1, "val_loss": 1.0} and closed == [1]
    with pytest.raises(ValueError, match="the configuration of the node has no partition-id"):
        app(message, Context(1, 1, {}, RecordDict(), {}))


def simulated(directory: Path, epochs: int = 3) -> SimulatedDevice:
    return SimulatedDevice(directory, (1, 8), epochs=epochs, learning_rate=0.2, schedule="constant")


def initial(directory: Path) -> dict[str, Any]:
    with tm.Simulation(directory) as simulation:
        return simulation.weights()


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return {name: array.tobytes() for name, array in left.items()} == {
        name: array.tobytes() for name, array in right.items()
    }


def test_a_round_of_a_simulated_device_is_idempotent(tmp_path: Path) -> None:
    start = initial(tmp_path / "initial")
    device = simulated(tmp_path / "node")
    weights, metrics = device.train(start, 1)
    assert metrics["num-examples"] == 150 and not equal(weights, start)
    again, metrics_again = device.train(start, 1)
    assert equal(again, weights) and metrics_again == metrics
    assert device.evaluate(weights, 1) == {name: metrics[name] for name in ("val_loss", "accuracy")}
    # Other weights in the same round are another fleet.
    other, _ = device.train(weights, 1)
    assert not equal(other, weights)
    assert equal(device.train(start, 1)[0], weights)
    for round in [2, 3, 4]:
        weights, _ = device.train(weights, round)
    assert [path.name[:8] for path in sorted((tmp_path / "node").iterdir())] == ["round-3-", "round-4-"]


def test_a_node_that_is_killed_in_a_round_continues_it(tmp_path: Path) -> None:
    start = initial(tmp_path / "initial")
    expected, metrics = simulated(tmp_path / "undisturbed", 8).train(start, 1)
    tm.save(tmp_path / "start.ckpt", start)
    program = textwrap.dedent("""
        import os, signal, sys
        import training_monitor as tm
        from training_monitor import flower
        next_epoch, trained = tm.Simulation.__next__, []
        def kill(self):
            epoch = next_epoch(self)
            trained.append(epoch)
            if len(trained) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return epoch
        tm.Simulation.__next__ = kill
        directory, start = sys.argv[1:]
        device = flower.SimulatedDevice(directory, (1, 8), epochs=8, learning_rate=0.2, schedule="constant")
        device.train(dict(tm.load(start)), 1)
    """)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program, str(tmp_path / "node"), str(tmp_path / "start.ckpt")]
    codes = [subprocess.run(command, env=environment, check=False).returncode for _ in range(3)]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    weights, metrics_again = simulated(tmp_path / "node", 8).train(start, 1)
    assert equal(weights, expected) and metrics_again == metrics
