"""Links the archive for the board of a PlatformIO project. PlatformIO runs this script in the directory of the package."""

import os

Import("env")  # noqa: F821  PlatformIO defines this function.

board = env.BoardConfig()  # noqa: F821
flags = " ".join(str(flag) for name in ("CCFLAGS", "LINKFLAGS") for flag in env.get(name, []))  # noqa: F821


def archive_directory():
    """Returns the directory of the archive for the board."""
    cpu = board.get("build.cpu", "")
    if not cpu.startswith("cortex-"):
        return board.get("build.mcu", "")
    if "-mfloat-abi=hard" not in flags:
        return cpu
    fpu = next((fpu for fpu in ("fpv4-sp-d16", "fpv5-sp-d16", "fpv5-d16") if "-mfpu=" + fpu in flags), "unknown")
    return os.path.join(cpu, fpu + "-hard")


path = os.path.join(os.getcwd(), "src", archive_directory())
if not os.path.isfile(os.path.join(path, "libtraining_monitor_c.a")):
    raise SystemExit("training-monitor has no archive for this board: {} does not exist".format(path))
env.Append(LIBPATH=[path], LIBS=["training_monitor_c"])  # noqa: F821
