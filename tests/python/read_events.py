"""Prints all scalars that TensorBoard's reader finds in a directory: tag, step, and the bits of the value.

    python read_events.py logs/run
"""

import struct
import sys

from tensorboard.backend.event_processing import event_accumulator


def main(directory):
    # A size of 0 makes the reader load all scalars instead of a sample.
    reader = event_accumulator.EventAccumulator(directory, size_guidance={event_accumulator.SCALARS: 0})
    reader.Reload()
    for tag in reader.Tags()["scalars"]:
        for event in reader.Scalars(tag):
            (bits,) = struct.unpack("<I", struct.pack("<f", event.value))
            print(f"{tag} {event.step} {bits:08x}")


if __name__ == "__main__":
    main(*sys.argv[1:])
