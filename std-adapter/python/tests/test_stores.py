"""`load` and `flash_image`: directories of checkpoints and flash dumps."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import training_monitor as tm

SLOT = 4096


def write(path: Path, step: int, sequence: int, score: float | None = None) -> None:
    """Writes a checkpoint as a store does, with a sequence number. The numbers are less than 128."""
    tm.save(path, {"weight": np.full(3, step, np.float32)}, step=step, score=score, iteration=step, score_name="acc")
    stream = bytearray(path.read_bytes())
    # FORMAT.md: magic, version, length, step, sequence.
    assert stream[9:11] == bytes([step, 1])
    stream[10] = sequence
    path.write_bytes(stream[:-4] + zlib.crc32(stream[:-4]).to_bytes(4, "little"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with three checkpoints."""
    for sequence, (step, score) in enumerate([(1, 0.5), (2, 0.75), (3, 0.25)], 1):
        write(tmp_path / f"best_checkpoint_{step}_acc={score}.ckpt", step, sequence, score)
    return tmp_path


def test_a_directory_yields_the_newest_the_best_or_the_selected_checkpoint(directory: Path) -> None:
    assert tm.load(directory).step == 3
    assert tm.load(directory, best=True).step == 2
    assert tm.load(directory, 1).score == 0.5
    assert tm.load(directory, series="best")["model.weight"].tolist() == [3, 3, 3]
    with pytest.raises(tm.CheckpointError, match=r"no such checkpoint: available are best \(steps 1-3\)"):
        tm.load(directory, step=4)


def test_a_damaged_file_of_a_directory_is_skipped(directory: Path) -> None:
    path = directory / "best_checkpoint_3_acc=0.25.ckpt"
    damaged = bytearray(path.read_bytes())
    damaged[-10] ^= 1
    path.write_bytes(damaged)
    assert tm.load(directory).step == 2


def test_a_new_flash_image_contains_the_checkpoint(golden: Path, tmp_path: Path) -> None:
    checkpoint = tm.load(golden / "v2-run.ckpt")
    image = tmp_path / "flash.bin"
    tm.flash_image(image, checkpoint, slots=3, slot_size=SLOT, allow_non_finite=True)
    assert image.stat().st_size == 3 * SLOT
    loaded = tm.load(image)
    assert {name: array.tobytes() for name, array in loaded.items()} == {
        name: array.tobytes() for name, array in checkpoint.items()
    }
    assert (loaded.run, loaded.handlers, loaded.step) == (checkpoint.run, checkpoint.handlers, checkpoint.step)


def test_a_checkpoint_becomes_the_newest_of_a_dump(tmp_path: Path) -> None:
    image = tmp_path / "flash.bin"
    tm.flash_image(image, {"weight": np.zeros(3)}, slots=2, slot_size=SLOT, step=1)
    for step in range(2, 6):
        # The output replaces its input.
        tm.flash_image(image, {"weight": np.full(3, step)}, into=image, step=step)
        assert tm.load(image).step == step
    assert tm.load(image, step=4)["model.weight"].tolist() == [4, 4, 4]
    shifted = tmp_path / "shifted.bin"
    shifted.write_bytes(bytes(100) + image.read_bytes())
    assert tm.load(shifted, region=(100, 100 + 2 * SLOT), slots=2).step == 5


def test_arrays_of_a_flash_dump_are_aligned(tmp_path: Path) -> None:
    image = tmp_path / "flash.bin"
    tm.flash_image(image, {"a": np.arange(5.0), "b": np.int8(1), "c": np.arange(7.0)}, slots=2, slot_size=SLOT)
    odd = tmp_path / "odd.bin"
    odd.write_bytes(b"\xff" * 4 + image.read_bytes())
    for path in [image, odd]:
        loaded = tm.load(path)
        assert all(array.flags.aligned for array in loaded.values())
        assert loaded["model.c"].tolist() == list(range(7))


def test_a_checkpoint_that_is_larger_than_a_slot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write the flash image"):
        tm.flash_image(tmp_path / "flash.bin", {"weight": np.zeros(SLOT)}, slots=2, slot_size=SLOT)
    assert list(tmp_path.iterdir()) == []
