"""Checks the manifests and build files of the package, with the parsers of their build systems where these are available."""

import json
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

import kconfiglib
import yaml
from idf_component_tools.manager import ManifestManager
from platformio.package.manifest.schema import ManifestSchema
from platformio.package.pack import PackagePacker

package = pathlib.Path(sys.argv[1])
version = sys.argv[2]


def check(condition, text):
    if not condition:
        sys.exit(f"{package}: {text}")


# Every file that a user needs. The version is the same everywhere, and no placeholder is left.
for name in ["README.md", "LICENSE-APACHE", "LICENSE-MIT", "src/training_monitor.h", "src/training_monitor.hpp"]:
    check((package / name).is_file(), f"{name} is missing")
for path in package.rglob("*"):
    check(not path.is_file() or path.suffix == ".a" or "@VERSION@" not in path.read_text(), f"{path} has a placeholder")
archives = {path.parent.relative_to(package / "src").as_posix() for path in package.rglob("*.a")}
readme = (package / "README.md").read_text()
listed = set(re.findall(r"`((?:cortex|esp32)[\w/-]*\*?[\w-]*)`", readme))
covered = {archive for archive in archives if archive in listed or re.sub(r"/.*-hard$", "/*-hard", archive) in listed}
check(covered == archives, f"README.md does not list {archives - covered}")
check(all(name in archives or name.endswith("*-hard") for name in listed), f"README.md lists {listed - archives}")

# Arduino: the fields of the library specification 2.2.
properties = dict(line.split("=", 1) for line in (package / "library.properties").read_text().splitlines())
required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "architectures"}
optional = {"url", "depends", "dot_a_linkage", "includes", "precompiled", "ldflags"}
check(required <= set(properties) <= required | optional, f"fields of library.properties: {sorted(properties)}")
check(properties["version"] == version, "version of library.properties")
check(re.fullmatch(r"[A-Za-z][A-Za-z0-9_ .-]{0,62}", properties["name"]), "name of library.properties")
categories = ["Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage",
              "Data Processing", "Other"]
check(properties["category"] in categories, "category of library.properties")
check(properties["precompiled"] in ("true", "full"), "precompiled of library.properties")
check((package / "src" / properties["includes"]).is_file(), "includes of library.properties")
check(properties["ldflags"] == "-ltraining_monitor_c", "ldflags of library.properties")
for sketch in package.glob("examples/*/*.ino"):
    check(sketch.stem == sketch.parent.name, f"the folder of {sketch} has another name")

# PlatformIO: packing parses library.json.
manifest = json.loads((package / "library.json").read_text())
check(manifest["version"] == version, "version of library.json")
for example in manifest["examples"]:
    for name in example["files"]:
        check((package / example["base"] / name).is_file(), f"library.json: {name} is missing")
# PlatformIO would download the list of licences.
ManifestSchema.load_spdx_licenses = staticmethod(lambda: {"licenses": [{"licenseId": "MIT"}, {"licenseId": "Apache-2.0"}]})
with tempfile.TemporaryDirectory() as folder:
    packed = PackagePacker(str(package)).pack(folder)
    names = set(tarfile.open(packed).getnames())
    for name in ["library.json", "platformio.py", "src/training_monitor.h", "src/esp32c3/libtraining_monitor_c.a", "LICENSE-MIT"]:
        check(name in names, f"the package of PlatformIO has no {name}")


class Board:
    """Stands in for the construction environment of PlatformIO."""

    def __init__(self, cpu, mcu, flags):
        self.board = {"build.cpu": cpu, "build.mcu": mcu}
        self.flags = flags
        self.libraries = None

    def BoardConfig(self):
        return self.board

    def get(self, name, default):
        return self.flags if name == "CCFLAGS" else default

    def Append(self, LIBPATH, LIBS):
        self.libraries = (LIBPATH, LIBS)


def platformio(cpu, mcu, *flags):
    env = Board(cpu, mcu, list(flags))
    code = compile((package / "platformio.py").read_text(), "platformio.py", "exec")
    with_cwd = f"import os; os.chdir({str(package)!r})"
    exec(with_cwd, {})
    exec(code, {"Import": lambda name: None, "env": env})
    return pathlib.Path(env.libraries[0][0]).relative_to(package / "src").as_posix()


hard = "-mfloat-abi=hard"
check(platformio("cortex-m0plus", "samd21g18a", "-mthumb") == "cortex-m0plus", "archive of PlatformIO")
check(platformio("cortex-m4", "nrf52840", hard, "-mfpu=fpv4-sp-d16") == "cortex-m4/fpv4-sp-d16-hard", "archive of PlatformIO")
check(platformio("cortex-m7", "imxrt1062", hard, "-mfpu=fpv5-d16") == "cortex-m7/fpv5-d16-hard", "archive of PlatformIO")
check(platformio("cortex-m4", "stm32f4", "-mfloat-abi=soft") == "cortex-m4", "archive of PlatformIO")
check(platformio("", "esp32c3") == "esp32c3", "archive of PlatformIO")
for refused in [("", "esp32s3"), ("cortex-m33", "rp2350"), ("cortex-m4", "stm32f4", hard)]:
    try:
        platformio(*refused)
    except SystemExit as error:
        check("has no archive" in str(error), str(error))
    else:
        check(False, f"PlatformIO links an archive for {refused}")

# ESP-IDF.
for name, field in [(".", "version"), ("examples/esp-idf/main", None)]:
    component = ManifestManager(package / name, "component").load()
    check(field is None or str(component.version) == version, "version of idf_component.yml")
targets = yaml.safe_load((package / "idf_component.yml").read_text())["targets"]
check(set(targets) == {archive for archive in archives if archive.startswith("esp32")}, f"targets of the component: {targets}")

# Zephyr: the schema of module.yml permits these keys.
module = yaml.safe_load((package / "zephyr/module.yml").read_text())
check(set(module) == {"name", "build", "samples"} and set(module["build"]) == {"cmake", "kconfig"}, "keys of module.yml")
check((package / module["build"]["kconfig"]).is_file(), "kconfig of module.yml")
check((package / module["build"]["cmake"] / "CMakeLists.txt").is_file(), "cmake of module.yml")
check(all(list((package / folder).rglob("sample.yaml")) for folder in module["samples"]), "samples of module.yml")
check("sample" in yaml.safe_load((package / "samples/zephyr/sample.yaml").read_text()), "sample.yaml")
with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder, "Kconfig")
    known = ["CPU_CORTEX_M", "RISCV", "FLASH", "FLASH_MAP", "FLASH_PAGE_LAYOUT", "CBPRINTF_FP_SUPPORT"]
    root.write_text("".join(f"config {name}\n\tbool \"{name}\"\n\n" for name in known) +
                    "config MAIN_STACK_SIZE\n\tint \"stack\"\n\n" + f"source \"{package}/zephyr/Kconfig\"\n")
    pathlib.Path(folder, "prj.conf").write_text("CONFIG_CPU_CORTEX_M=y\n" + (package / "samples/zephyr/prj.conf").read_text())
    kconfig = kconfiglib.Kconfig(str(root), warn_to_stderr=False)
    kconfig.load_config(f"{folder}/prj.conf")
    check(not kconfig.warnings, f"Kconfig: {kconfig.warnings}")
    check(kconfig.syms["TRAINING_MONITOR"].str_value == "y", "CONFIG_TRAINING_MONITOR is not set")
    check(kconfig.syms["TRAINING_MONITOR_LIBRARY"].str_value == "", "CONFIG_TRAINING_MONITOR_LIBRARY")


def cmake(source, variables, functions):
    """Runs a CMake file with functions that stand in for those of a build system. Returns its output."""
    with tempfile.NamedTemporaryFile("w", suffix=".cmake") as script:
        for name, value in variables.items():
            script.write(f"set({name} {value})\n")
        for name in functions:
            script.write(f'function({name})\nmessage("{name} ${{ARGV}}")\nendfunction()\n')
        script.write(f"include({package / source})\n")
        script.flush()
        ran = subprocess.run(["cmake", "-P", script.name], capture_output=True, text=True)
        return ran.stdout + ran.stderr


zephyr = ["zephyr_include_directories", "zephyr_link_libraries"]


def zephyr_archive(*options):
    output = cmake("zephyr/CMakeLists.txt", {f"CONFIG_{name}": "y" for name in ("TRAINING_MONITOR",) + options}, zephyr)
    found = re.search(r"zephyr_link_libraries (.*)", output)
    if found is None:
        return output
    check(pathlib.Path(found[1]).is_file(), f"{found[1]} does not exist")
    return pathlib.Path(found[1]).resolve().parent.relative_to((package / "src").resolve()).as_posix()


check(zephyr_archive("CPU_CORTEX_M0PLUS") == "cortex-m0", "archive of Zephyr")
check(zephyr_archive("CPU_CORTEX_M4", "FPU", "FP_HARDABI") == "cortex-m4/fpv4-sp-d16-hard", "archive of Zephyr")
check(zephyr_archive("CPU_CORTEX_M4", "FPU", "FP_SOFTABI") == "cortex-m4", "archive of Zephyr")
check(zephyr_archive("CPU_CORTEX_M7") == "cortex-m4", "archive of Zephyr")
check(zephyr_archive("RISCV", "RISCV_ISA_EXT_M", "RISCV_ISA_EXT_C") == "esp32c3", "archive of Zephyr")
check(zephyr_archive("RISCV", "RISCV_ISA_EXT_M", "RISCV_ISA_EXT_A", "RISCV_ISA_EXT_C") == "esp32c6", "archive of Zephyr")
check("has no archive" in zephyr_archive("CPU_CORTEX_M33"), "Zephyr links an archive for a Cortex-M33")
check("has no archive" in zephyr_archive("RISCV", "64BIT"), "Zephyr links an archive for a 64-bit CPU")

idf = ["idf_component_register", "add_prebuilt_library", "target_link_libraries"]
for target in targets:
    output = cmake("CMakeLists.txt", {"IDF_TARGET": target, "COMPONENT_LIB": "lib"}, idf)
    check(f"src/{target}/libtraining_monitor_c.a" in output and "Error" not in output, output)
check("has no archive" in cmake("CMakeLists.txt", {"IDF_TARGET": "esp32s3"}, idf), "a component for ESP32-S3")
print(f"manifests: version {version}, {len(archives)} archives")
