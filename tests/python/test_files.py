"""Reads files of `training-monitor export` with numpy and safetensors, writes them again, and imports them.

The test program std-adapter/tests/tool_python.rs runs these tests. To run them without it:

    TRAINING_MONITOR=target/debug/training-monitor CHECKPOINT=some.ckpt python -m unittest discover tests/python

Needs numpy and safetensors.
"""

import csv
import json
import os
import subprocess
import tempfile
import unittest

import numpy
import safetensors
import safetensors.numpy

TOOL = os.environ["TRAINING_MONITOR"]
CHECKPOINT = os.path.abspath(os.environ["CHECKPOINT"])


class Files(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.inventory = json.loads(self.tool("inspect", CHECKPOINT, "--json"))
        (self.checkpoint,) = self.inventory["series"][0]["checkpoints"]

    def tool(self, *arguments):
        result = subprocess.run([TOOL, *arguments], cwd=self.directory.name, capture_output=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def export(self, kind):
        self.tool("export", CHECKPOINT, "--to", kind, "-o", "weights." + kind)
        return self.path("weights." + kind)

    def check(self, arrays):
        """Compares names, shapes and statistics with the output of `training-monitor inspect`."""
        tensors = {f"{t['object']}.{t['name']}": t for t in self.checkpoint["tensors"]}
        self.assertEqual(set(arrays), set(tensors))
        for name, array in arrays.items():
            self.assertEqual(array.dtype, numpy.float32, name)
            self.assertEqual(list(array.shape), tensors[name]["shape"], name)
            self.assertEqual(float(array.min()), numpy.float32(tensors[name]["stats"]["min"]), name)
            self.assertEqual(float(array.max()), numpy.float32(tensors[name]["stats"]["max"]), name)

    def import_checkpoint(self, file, *options):
        """Imports a file as a checkpoint and returns the bytes of the checkpoint."""
        self.tool("import", file, "--to", "checkpoint", "-o", "imported.ckpt", *options)
        with open(self.path("imported.ckpt"), "rb") as f:
            return f.read()

    def original(self):
        with open(CHECKPOINT, "rb") as f:
            return f.read()

    def test_safetensors(self):
        file = self.export("safetensors")
        arrays = safetensors.numpy.load_file(file)
        self.check(arrays)
        with safetensors.safe_open(file, framework="numpy") as f:
            metadata = f.metadata()
        self.assertEqual(json.loads(metadata["training_monitor"])["step"], self.checkpoint["step"])
        # The library writes the file again, first with the metadata of the run and then without.
        rewritten = self.path("rewritten.safetensors")
        safetensors.numpy.save_file(arrays, rewritten, metadata=metadata)
        self.assertEqual(self.import_checkpoint(rewritten), self.original())
        safetensors.numpy.save_file(arrays, rewritten)
        self.assertEqual(self.import_checkpoint(rewritten, "--template", CHECKPOINT), self.original())

    def test_npz(self):
        with numpy.load(self.export("npz")) as file:
            arrays = dict(file)
        metadata = arrays.pop("training_monitor")
        self.assertEqual(json.loads(metadata.tobytes())["step"], self.checkpoint["step"])
        self.check(arrays)
        rewritten = self.path("rewritten.npz")
        numpy.savez(rewritten, training_monitor=metadata, **arrays)
        self.assertEqual(self.import_checkpoint(rewritten), self.original())
        # A compressed file with arrays in column-major order contains the same numbers.
        numpy.savez_compressed(rewritten, **{name: numpy.asfortranarray(array) for name, array in arrays.items()})
        self.assertEqual(self.import_checkpoint(rewritten, "--template", CHECKPOINT), self.original())

    def test_json_and_csv(self):
        with numpy.load(self.export("npz")) as file:
            arrays = dict(file)
        with open(self.export("json"), encoding="utf-8") as f:
            file = json.load(f)
        for name, tensor in file["tensors"].items():
            array = numpy.array(tensor["data"], dtype=numpy.float32).reshape(tensor["shape"])
            self.assertEqual(array.tobytes(), arrays[name].tobytes(), name)
        # Python writes the file again, with its own text for numbers.
        with open(self.path("rewritten.json"), "w", encoding="utf-8") as f:
            json.dump(file, f, indent=1, sort_keys=True)
        self.assertEqual(self.import_checkpoint(self.path("rewritten.json")), self.original())
        columns = {}
        with open(self.export("csv"), newline="", encoding="utf-8") as f:
            for row in csv.DictReader(f):
                columns.setdefault(row["tensor"], []).append(numpy.float32(row["value"]))
        for name, values in columns.items():
            self.assertEqual(numpy.array(values).tobytes(), arrays[name].tobytes(), name)

    def test_float64_is_rejected(self):
        with numpy.load(self.export("npz")) as file:
            arrays = {name: array.astype("<f8") for name, array in file.items() if array.dtype == numpy.float32}
        numpy.savez(self.path("doubles.npz"), **arrays)
        result = subprocess.run(
            [TOOL, "import", "doubles.npz", "--to", "checkpoint", "-o", "x", "--template", CHECKPOINT],
            cwd=self.directory.name, capture_output=True, check=False,
        )
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"float32", result.stderr)


if __name__ == "__main__":
    unittest.main()
