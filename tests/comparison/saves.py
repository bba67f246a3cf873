#!/usr/bin/env python3
"""Compares Python libraries with simple functions: Ignite's scan and saver, torch.save and safetensors.

    python3 tests/comparison/saves.py

The program prints ratios from interleaved rounds, like `cargo bench` for Rust: the ratio of each scan to a sum of the same
numbers, and the ratio of each save to a plain write of the same bytes. It needs numpy. It reports and skips other libraries
that are not installed.
"""

import os
import shutil
import statistics
import tempfile
import time

ROUNDS = 25


def optional(name):
    try:
        return __import__(name, fromlist=["_"])
    except ImportError:
        print(f"skipped {name}: not installed")
        return None


def measure(title, base, variants):
    """Runs all variants in turn, and prints the median time of each and its median ratio to `base`."""
    times = {name: [] for name in variants}
    calls = {}
    for name, run in variants.items():
        run()
        start = time.perf_counter()
        run()
        calls[name] = max(1, int(0.001 / max(time.perf_counter() - start, 1e-7)))
    names = list(variants)
    for turn in range(ROUNDS):
        for offset in range(len(names)):
            name = names[(turn + offset) % len(names)]
            start = time.perf_counter()
            for _ in range(calls[name]):
                variants[name]()
            times[name].append((time.perf_counter() - start) / calls[name])
    print(f"\n{title:<44} {'µs':>10} {'× ' + base:>24}")
    for name in names:
        ratio = statistics.median(variant_time / base_time for variant_time, base_time in zip(times[name], times[base]))
        print(f"  {name:<42} {statistics.median(times[name]) * 1e6:>10.2f} {ratio:>24.3f}")


def main():
    numpy = optional("numpy")
    torch = optional("torch")
    ignite = optional("ignite.handlers") if torch else None
    safetensors_numpy = optional("safetensors.numpy") if numpy else None
    safetensors_torch = optional("safetensors.torch") if torch else None
    if not numpy:
        print("numpy is missing: python3 -m pip install numpy")
        return
    if torch:
        torch.set_num_threads(1)
    directory = tempfile.mkdtemp()
    try:
        for elements, name in [(1 << 20, "1 M"), (1 << 16, "64 k"), (1 << 10, "1 k")]:
            array = numpy.linspace(-1, 1, elements, dtype=numpy.float32)
            tensor = torch.from_numpy(array) if torch else None
            scans = {"numpy sum": lambda: array.sum(), "numpy isfinite().all()": lambda: numpy.isfinite(array).all()}
            if torch:
                scans["torch sum().item()"] = lambda: tensor.sum().item()
                # The expression that Ignite's TerminateOnNan evaluates for a tensor.
                scans["torch bool(isfinite().all())"] = lambda: bool(torch.isfinite(tensor).all())
            measure(f"scan of {name} f32", "numpy sum", scans)

            path = os.path.join(directory, "file")
            data = array.tobytes()

            def plain():
                with open(path, "wb") as file:
                    file.write(data)

            saves = {"plain write": plain, "numpy.save": lambda: numpy.save(path + ".npy", array)}
            if safetensors_numpy:
                saves["safetensors.numpy.save_file"] = lambda: safetensors_numpy.save_file({"w": array}, path + ".st")
            if torch:
                saves["torch.save"] = lambda: torch.save({"w": tensor}, path + ".pt")
            if safetensors_torch:
                saves["safetensors.torch.save_file"] = lambda: safetensors_torch.save_file({"w": tensor}, path + ".st")
            if ignite:
                saver = ignite.DiskSaver(directory, require_empty=False)
                saves["Ignite DiskSaver, atomic"] = lambda: saver({"w": tensor}, "ignite.pt")
            measure(f"save of {name} f32", "plain write", saves)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
