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
import zipfile

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
        self.tool("export", CHECKPOINT, "--force", "-o", "weights." + kind)
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
        self.tool("import", file, "--force", "-o", "imported.ckpt", *options)
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
        exported = self.export("npz")
        with numpy.load(exported) as file:
            arrays = dict(file)
        # The metadata of the run is in the comment of the archive, so all arrays are tensors.
        self.check(arrays)
        with zipfile.ZipFile(exported) as archive:
            self.assertIsNone(archive.testzip())
            metadata = json.loads(archive.comment.removeprefix(b"training_monitor"))
        self.assertEqual(metadata["step"], self.checkpoint["step"])
        self.assertEqual(self.import_checkpoint(exported), self.original())
        # NumPy does not keep the comment.
        rewritten = self.path("rewritten.npz")
        numpy.savez(rewritten, **arrays)
        self.assertEqual(self.import_checkpoint(rewritten, "--template", CHECKPOINT), self.original())
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
        self.assertIn(b"has the type f64, but the checkpoint to fill has f32", result.stderr)

    def test_every_type(self):
        # The bits of three elements: the largest pattern (NaN with a payload for floats), one, and a pattern with the
        # sign bit alone. NumPy has no bf16: npz files have elements of two bytes, as those of the package ml_dtypes.
        types = {
            "f32": "<f4", "f64": "<f8", "f16": "<f2", "bf16": "V2", "i8": "i1", "u8": "u1", "i16": "<i2", "u16": "<u2",
            "i32": "<i4", "u32": "<u4", "i64": "<i8", "u64": "<u8",
        }
        arrays = {"m.bool": numpy.array([True, False, True]), "m.empty": numpy.zeros((0, 4), "<i8")}
        for name, dtype in types.items():
            size = numpy.dtype(dtype).itemsize
            bits = numpy.array([2 ** (8 * size) - 1, 1, 2 ** (8 * size - 1)], f"<u{size}")
            arrays["m." + name] = bits.view(dtype)
        numpy.savez(self.path("types.npz"), **arrays)
        self.tool("import", "types.npz", "--to", "checkpoint", "-o", "types.ckpt")
        inventory = json.loads(self.tool("inspect", "types.ckpt", "--json"))
        (checkpoint,) = inventory["series"][0]["checkpoints"]
        found = {tensor["name"]: tensor["type"] for tensor in checkpoint["tensors"]}
        self.assertEqual(found, {name: name for name in [*types, "bool"]} | {"empty": "i64"})
        for kind in ["npz", "json", "csv", "safetensors"]:
            options = ["--template", "types.ckpt"] if kind == "csv" else []
            self.tool("export", "types.ckpt", "--force", "-o", "types." + kind)
            self.tool("import", "types." + kind, "--force", "-o", "back.ckpt", *options)
            with open(self.path("types.ckpt"), "rb") as a, open(self.path("back.ckpt"), "rb") as b:
                self.assertEqual(a.read(), b.read(), kind)
        with numpy.load(self.path("types.npz")) as file:
            for name, array in arrays.items():
                self.assertEqual((file[name].dtype.str[1:], file[name].tobytes()), (array.dtype.str[1:], array.tobytes()))
        with safetensors.safe_open(self.path("types.safetensors"), framework="numpy") as file:
            # Reading bf16 with numpy needs the package ml_dtypes.
            for name in arrays.keys() - {"m.bf16"}:
                array = file.get_tensor(name)
                self.assertEqual((array.dtype, array.tobytes()), (arrays[name].dtype, arrays[name].tobytes()), name)
        with open(self.path("types.json"), encoding="utf-8") as file:
            tensors = json.load(file)["tensors"]
        self.assertEqual(tensors["m.u64"]["data"], [2**64 - 1, 1, 2**63])


if __name__ == "__main__":
    unittest.main()
