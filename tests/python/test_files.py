"""Files that `training-monitor export` writes, read by the libraries they are for; and the way back.

Run by `cargo test` (std-adapter/tests/tool_python.rs), or by hand:

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
        self.described = json.loads(self.tool("inspect", CHECKPOINT, "--json"))
        (self.checkpoint,) = self.described["series"][0]["checkpoints"]

    def tool(self, *arguments):
        done = subprocess.run([TOOL, *arguments], cwd=self.directory.name, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def export(self, kind):
        self.tool("export", CHECKPOINT, "--to", kind, "-o", "weights." + kind)
        return self.path("weights." + kind)

    def check(self, arrays):
        """Names, shapes and the numbers that the tool itself gives."""
        tensors = {f"{t['object']}.{t['name']}": t for t in self.checkpoint["tensors"]}
        self.assertEqual(set(arrays), set(tensors))
        for name, array in arrays.items():
            self.assertEqual(array.dtype, numpy.float32, name)
            self.assertEqual(list(array.shape), tensors[name]["shape"], name)
            self.assertEqual(float(array.min()), numpy.float32(tensors[name]["stats"]["min"]), name)
            self.assertEqual(float(array.max()), numpy.float32(tensors[name]["stats"]["max"]), name)

    def back(self, file, *more):
        """The bytes of the checkpoint that is made of a file."""
        self.tool("import", file, "--to", "checkpoint", "-o", "back.ckpt", *more)
        with open(self.path("back.ckpt"), "rb") as f:
            return f.read()

    def original(self):
        with open(CHECKPOINT, "rb") as f:
            return f.read()

    def test_safetensors(self):
        file = self.export("safetensors")
        arrays = safetensors.numpy.load_file(file)
        self.check(arrays)
        with safetensors.safe_open(file, framework="numpy") as f:
            note = f.metadata()
        self.assertEqual(json.loads(note["training_monitor"])["step"], self.checkpoint["step"])
        # Written again by the real library, with its note and without.
        again = self.path("again.safetensors")
        safetensors.numpy.save_file(arrays, again, metadata=note)
        self.assertEqual(self.back(again), self.original())
        safetensors.numpy.save_file(arrays, again)
        self.assertEqual(self.back(again, "--template", CHECKPOINT), self.original())

    def test_npz(self):
        with numpy.load(self.export("npz")) as file:
            arrays = dict(file)
        note = arrays.pop("training_monitor")
        self.assertEqual(json.loads(note.tobytes())["step"], self.checkpoint["step"])
        self.check(arrays)
        again = self.path("again.npz")
        numpy.savez(again, training_monitor=note, **arrays)
        self.assertEqual(self.back(again), self.original())
        # Column-major and compressed is another file with the same arrays in it.
        numpy.savez_compressed(again, **{name: numpy.asfortranarray(array) for name, array in arrays.items()})
        self.assertEqual(self.back(again, "--template", CHECKPOINT), self.original())

    def test_json_and_csv(self):
        with numpy.load(self.export("npz")) as file:
            arrays = dict(file)
        with open(self.export("json"), encoding="utf-8") as f:
            file = json.load(f)
        for name, tensor in file["tensors"].items():
            array = numpy.array(tensor["data"], dtype=numpy.float32).reshape(tensor["shape"])
            self.assertEqual(array.tobytes(), arrays[name].tobytes(), name)
        # Written again in Python's way of writing numbers.
        with open(self.path("again.json"), "w", encoding="utf-8") as f:
            json.dump(file, f, indent=1, sort_keys=True)
        self.assertEqual(self.back(self.path("again.json")), self.original())
        read = {}
        with open(self.export("csv"), newline="", encoding="utf-8") as f:
            for row in csv.DictReader(f):
                read.setdefault(row["tensor"], []).append(numpy.float32(row["value"]))
        for name, values in read.items():
            self.assertEqual(numpy.array(values).tobytes(), arrays[name].tobytes(), name)

    def test_doubles_are_refused(self):
        with numpy.load(self.export("npz")) as file:
            arrays = {name: array.astype("<f8") for name, array in file.items() if array.dtype == numpy.float32}
        numpy.savez(self.path("doubles.npz"), **arrays)
        done = subprocess.run(
            [TOOL, "import", "doubles.npz", "--to", "checkpoint", "-o", "x", "--template", CHECKPOINT],
            cwd=self.directory.name, capture_output=True, check=False,
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"float32", done.stderr)


if __name__ == "__main__":
    unittest.main()
