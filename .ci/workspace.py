#!/usr/bin/env python3
"""Facts about the workspace, from `cargo metadata`. Other scripts import this module, and .ci/run calls it:

.ci/workspace.py target-directory      the directory of the build
.ci/workspace.py select-published      the options of cargo that select all crates for a registry
.ci/workspace.py features PACKAGE      the features of a member, without `default`
"""

import functools
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(*command, **options):
    """The standard output of a command in the root of the workspace. A failure ends the program."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"`{' '.join(map(str, command))}` failed")
    return done.stdout


@functools.cache
def metadata(*options):
    return json.loads(run("cargo", "metadata", "--format-version=1", "--locked", *options))


def members():
    return metadata("--no-deps")["packages"]


def published():
    """The members that are for a registry, a dependency before the packages that need it."""
    # `publish = false` is an empty list of registries.
    packages = {package["name"]: package for package in members() if package["publish"] != []}
    ordered = []

    def add(package):
        for dependency in package["dependencies"]:
            if dependency["name"] in packages and dependency["name"] != package["name"] and dependency["kind"] != "dev":
                add(packages[dependency["name"]])
        if package not in ordered:
            ordered.append(package)

    for package in packages.values():
        add(package)
    return ordered


def is_macro(package):
    """Whether the package consists of procedural macros, which users get through another package."""
    return any("proc-macro" in target["kind"] for target in package["targets"])


def main(command, *arguments):
    if command == "target-directory":
        print(metadata("--no-deps")["target_directory"])
    elif command == "select-published":
        print(*(f"-p {package['name']}" for package in published()))
    elif command == "features":
        (package,) = (package for package in members() if package["name"] == arguments[0])
        print(*sorted(set(package["features"]) - {"default"}))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*(sys.argv[1:] or [""]))
