"""Measures how long it takes to load a large checkpoint, compared with safetensors and a checksum of the same file.

    python speed.py MEBIBYTES

Both files are in the cache of the operating system. The sum of all elements is part of both times, because `load` maps
the file and an access reads it. Each time is the shortest of five.
"""

from __future__ import annotations

import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import training_monitor as tm
from safetensors.numpy import load_file, save_file


def shortest(work: Callable[[], float]) -> float:
    """Returns the shortest time of five calls, in seconds."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    size = int(sys.argv[1]) << 20
    tensors = {f"model.{index}": np.full(size // 16 // 4, index, np.float32) for index in range(16)}
    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = Path(directory) / "a.ckpt", Path(directory) / "a.safetensors"
        tm.save(ours, tensors)
        save_file(tensors, theirs)

        def load_ours() -> float:
            return sum(float(tensor.sum()) for tensor in tm.load(ours).values())

        def load_theirs() -> float:
            zlib.crc32(theirs.read_bytes())
            return sum(float(tensor.sum()) for tensor in load_file(theirs).values())

        assert load_ours() == load_theirs()
        first, second = shortest(load_ours), shortest(load_theirs)
    print(
        f"load of {sys.argv[1]} MiB: {first:.3f} s; safetensors and zlib.crc32: {second:.3f} s; "
        f"ratio of the speeds {second / first:.2f}"
    )


if __name__ == "__main__":
    main()
