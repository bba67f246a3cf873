"""Starts Flower's programs quickly.

Flower starts a Python process for each message of each node, and its imports take two seconds of a processor. A server
process imports them once, and forks for each program. In the directory of the programs, each program is a small script
that asks the server to start it, passes its arguments and files, and waits for its end. The programs and their
arguments are those of Flower. Each one has a process of its own, in the process group of the service that it belongs
to, so that a signal to the group reaches all of them.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import traceback
from importlib.metadata import entry_points
from pathlib import Path

PROGRAMS = [
    "flower-superexec",
    "flower-superlink",
    "flower-supernode",
    "flwr",
    "flwr-clientapp",
    "flwr-serverapp",
    "flwr-simulation",
]

#: The variable of the environment that contains the process group of a service.
_GROUP = "FLEET_PROCESS_GROUP"

_SCRIPT = """#!{python} -IS
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({socket!r})
request = [os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ), os.getpgrp()]
socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
sys.exit((connection.recv(1) or b"\\1")[0])
"""


def install(directory: Path, address: Path) -> None:
    """Writes the scripts of the programs."""
    directory.mkdir()
    for name in PROGRAMS:
        script = directory / name
        script.write_text(_SCRIPT.format(python=sys.executable, socket=str(address)))
        script.chmod(0o755)


def serve(address: str) -> None:
    """Starts programs until the process is killed."""
    programs = {entry.name: entry.load() for entry in entry_points(group="console_scripts") if entry.name in PROGRAMS}
    importlib.import_module("training_monitor.flower")
    # The operating system removes ended programs from its list of processes.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(100)
    while True:
        connection, _ = listener.accept()
        data, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if data and os.fork() == 0:
            listener.close()
            _execute(programs, connection, data, files)
        for descriptor in files:
            os.close(descriptor)
        connection.close()


def _execute(programs: dict[str, object], connection: socket.socket, data: bytes, files: list[int]) -> None:
    """Executes a program in this process, and ends the process."""
    code = 1
    try:
        name, arguments, directory, environment, group = json.loads(data)
        # A service is one process group. Flower starts some of its programs in a session of their own, whose groups
        # this process cannot join.
        os.setpgid(0, int(environment.setdefault(_GROUP, str(group))))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for target, descriptor in enumerate(files):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [name, *arguments]
        programs[name]()  # type: ignore[operator]
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(bytes([code & 255]))
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
