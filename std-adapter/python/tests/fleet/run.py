"""Runs a fleet whose nodes and server are killed, and compares it with an undisturbed fleet.

    python tests/fleet/run.py

The undisturbed fleet runs in Flower's simulation engine. The other one consists of a SuperLink and SuperNodes on the
loopback interface. The program kills them with SIGKILL at random times, and starts them again as a service manager
would. The device of partition 0 is a simulated board in the undisturbed fleet, and a board in an emulator, which is
killed, too, in the other one; see `nodes`. All other devices are simulated. Both fleets must end with the same global
weights, bit for bit, must be stopped early in the same round, after at least FLEET_ROUNDS rounds, and must have at
least the accuracy of a central run on all images minus 1 %.

Settings: FLEET_NODES, FLEET_ROUNDS, FLEET_KILLS, and KILL_SEED, which repeats the kills of an earlier run.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nodes
import preload
import training_monitor as tm
from training_monitor import _state
from training_monitor.flower import evaluate_weights

NODES = int(os.environ.get("FLEET_NODES", "8"))
ROUNDS = int(os.environ.get("FLEET_ROUNDS", "10"))
KILLS = int(os.environ.get("FLEET_KILLS", "6"))
SEED = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(1 << 32))
NAMES = [f"node-{index}" for index in range(NODES)]
#: The fleet must be stopped before this round.
LAST_ROUND = 100
APP = Path(__file__).parents[2] / "examples" / "fleet"
#: A fleet that takes longer than this number of seconds has failed.
LIMIT = 900


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {condition.__name__} after {seconds} s")
        time.sleep(0.05)


class Fleet:
    """The processes of a fleet. Each service is a process group."""

    def __init__(self, directory: Path, is_simulation: bool, board: nodes.Board) -> None:
        self.directory, self.is_simulation, self.board = directory, is_simulation, board
        self.data = directory / "data"
        directory.mkdir()
        self.ports = free_ports(1 + NODES)
        self.services: dict[str, subprocess.Popen[bytes]] = {}
        programs, address = directory / "bin", directory / "socket"
        preload.install(programs, address)
        home = directory / "flwr"
        home.mkdir()
        simulation = f"options.num-supernodes = {NODES}\n" if is_simulation else ""
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "fleet"\n[superlink.fleet]\ninsecure = true\n'
            f'address = "127.0.0.1:{self.ports[0]}"\n{simulation}'
        )
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
            "RAY_TMPDIR": str(directory),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.preload = self._start("preload", [sys.executable, preload.__file__, str(address)])
        wait_for(address.exists)

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with open(self.directory / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def start(self, name: str) -> None:
        if name == "server":
            command = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(self.ports[0])]
            command += ["--database", str(self.directory / "state.db"), "--disable-runtime-dependency-installation"]
            command += ["--simulation"] if self.is_simulation else []
        else:
            index = int(name.removeprefix("node-"))
            command = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{self.ports[0]}"]
            command += ["--port", str(self.ports[1 + index])]
            command += ["--node-config", f"partition-id={index} num-partitions={NODES}"]
        self.services[name] = self._start(name, command)

    def submit(self) -> None:
        """Starts a Flower run. The strategy continues from its checkpoint."""

        def server_is_listening() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", self.ports[0])) == 0

        wait_for(server_is_listening)
        config = f'directory="{self.data}" partitions={NODES} rounds={LAST_ROUND} board="{self.board.port}"'
        for _ in range(10):
            status, output = self.flwr("run", str(APP), "--run-config", config, "--format", "json")
            if status == 0 and (found := re.search(r'"run-id": "(\d+)"', output)):
                self.run_id = found[1]
                return
            # The SuperLink listens before it is ready.
            time.sleep(0.5)
        raise RuntimeError(f"flwr run failed: {output}")

    def flwr(self, *arguments: str) -> tuple[int, str]:
        """Executes a command of Flower. Returns its status and its output."""
        log = self.directory / "flwr.log"
        log.unlink(missing_ok=True)
        return self._start("flwr", ["flwr", *arguments]).wait(60), log.read_text()

    def check(self) -> None:
        """Raises an error if the Flower run has failed."""
        status, output = self.flwr("ls", "--run-id", self.run_id, "--format", "json")
        if status == 0 and '"finished:failed"' in output:
            raise RuntimeError(f"the run has failed: {self.flwr('log', self.run_id, '--show')[1]}")

    def state(self) -> dict[str, Any]:
        """Returns the state of the strategy in its newest checkpoint."""
        try:
            return dict(_state.decode(tm.load(self.data / "server", series="latest"), "fleet", None))
        except (OSError, tm.CheckpointError):
            return {"round": 0, "is_stopped": False}

    def restart(self, name: str) -> None:
        """Kills a service or the board, and starts it again."""
        if name == "board":
            self.board.kill()
            self.board.start()
            return
        service = self.services[name]
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
        self.start(name)
        if name == "server":
            self.submit()

    def supervise(self) -> None:
        """Starts services that have ended, as a service manager would."""
        for name, service in self.services.items():
            if service.poll() is not None:
                self.start(name)

    def close(self) -> None:
        for service in [*self.services.values(), self.preload]:
            try:
                os.killpg(service.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            service.wait()


def run_fleet(directory: Path, is_simulation: bool, board: str, kills: list[tuple[int, float, str]]) -> Fleet:
    """Runs a fleet to its end. A kill is a round, a time in this round in seconds, and the name of a service."""
    with nodes.running(directory.with_name(f"board-{board}"), board) as device:
        return run_with_board(Fleet(directory, is_simulation, device), kills)


def run_with_board(fleet: Fleet, kills: list[tuple[int, float, str]]) -> Fleet:
    deadline, due, next_check = time.monotonic() + LIMIT, None, time.monotonic() + 10
    try:
        for name in ["server"] if fleet.is_simulation else ["server", *NAMES]:
            fleet.start(name)
        fleet.submit()
        while not ((state := fleet.state())["is_stopped"] or state["round"] == LAST_ROUND):
            now = time.monotonic()
            if now > deadline:
                raise TimeoutError(f"the fleet has not ended after {LIMIT} s and {state['round']} rounds")
            if due is None and kills and state["round"] >= kills[0][0]:
                due = now + kills[0][1]
            if due is not None and now >= due:
                due, victim = None, kills.pop(0)[2]
                print(f"  after round {state['round']}: kill {victim}", flush=True)
                fleet.restart(victim)
            if now >= next_check:
                fleet.check()
                next_check = now + 10
            fleet.supervise()
            time.sleep(0.25)
        if kills:
            raise RuntimeError(f"the fleet ended before the kills {kills}")
    finally:
        fleet.close()
    return fleet


def random_kills(rounds: int) -> list[tuple[int, float, str]]:
    """Returns kills of nodes, of the server and of the board in random rounds."""
    choice = random.Random(SEED)
    victims = [(choice.choice(NAMES), "server", "board")[index % 3] for index in range(KILLS)]
    # The last rounds are left, because a kill can wait for an earlier one, and must happen before the fleet ends.
    possible = max(1, rounds - 3)
    return sorted((choice.randrange(possible), choice.uniform(0, 6), victim) for victim in victims)


def compare(undisturbed: Fleet, disturbed: Fleet) -> None:
    left, right = (fleet.state() for fleet in (undisturbed, disturbed))
    if left != right:
        raise AssertionError(f"the states differ: {left} and {right}")
    for series in ["best", "latest"]:
        left, right = (tm.load(fleet.data / "server", series=series) for fleet in (undisturbed, disturbed))
        if left.step != right.step or [*left] != [*right] or any(left[n].tobytes() != right[n].tobytes() for n in left):
            raise AssertionError(f"the weights of the series {series} differ")


def test_accuracy(directory: Path) -> float:
    best = tm.load(directory, best=True)
    return evaluate_weights({name: best[name] for name in best if name.startswith("model.")}, test=True).accuracy


def main() -> None:
    print(f"{NODES} nodes, at least {ROUNDS} rounds, {KILLS} kills, KILL_SEED={SEED}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="fleet-"))
    started = time.monotonic()
    print(f"logs in {directory}", flush=True)
    undisturbed = run_fleet(directory / "undisturbed", True, "host", [])
    rounds = undisturbed.state()["round"]
    print(f"simulation engine: stopped early after round {rounds}, {time.monotonic() - started:.0f} s", flush=True)
    if not ROUNDS <= rounds < LAST_ROUND:
        raise AssertionError(f"the fleet was stopped after round {rounds}, expected {ROUNDS} to {LAST_ROUND - 1}")
    started = time.monotonic()
    disturbed = run_fleet(directory / "disturbed", False, "m4f", random_kills(rounds))
    print(f"loopback interface, killed {KILLS} times: {time.monotonic() - started:.0f} s", flush=True)
    compare(undisturbed, disturbed)
    with tm.Simulation(directory / "central") as simulation:
        for _ in simulation:
            pass
    paths = [directory / "central", disturbed.data / "server"]
    central, fleet = (test_accuracy(path) for path in paths)
    print(f"same bits; accuracy on the test images: fleet {fleet:.4f}, central run {central:.4f}")
    if fleet < central - 0.01:
        raise AssertionError("the accuracy of the fleet is more than 1 % below that of the central run")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
