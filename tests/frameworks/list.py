#!/usr/bin/env python3
"""Lists the handlers of a package: list.py ignite|lightning|keras DIRECTORY > NAME.txt

DIRECTORY is the unpacked wheel, which `pip download --no-deps pytorch-ignite lightning keras` downloads. Its code is parsed
and not executed. The list contains the version, all public classes in the modules of the handlers, and the functions that
these modules export. The test `from_pages` checks that the documents contain a row for each name.
"""
import ast
import sys
from pathlib import Path

FOLDERS = {
    "ignite": ["ignite/handlers", "ignite/contrib/handlers"],
    "lightning": ["lightning/pytorch/callbacks", "lightning/pytorch/profilers"],
    "keras": ["keras/src/callbacks"],
}

package, root = sys.argv[1], Path(sys.argv[2])
files = [file for folder in FOLDERS[package] for file in sorted((root / folder).rglob("*.py"))]
classes, functions, exported = set(), set(), set()
for file in files:
    if file.stem.endswith("_test"):
        continue
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            classes.add(node.name)
        elif isinstance(node, ast.FunctionDef):
            functions.add(node.name)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            exported.update(ast.literal_eval(node.value))
names = {name for name in classes | functions & exported if not name.startswith("_")}
missing = exported - names
if missing:
    sys.exit(f"exported, but not found: {sorted(missing)}")
metadata = next(root.glob("*.dist-info/METADATA")).read_text().splitlines()
version = next(line.removeprefix("Version: ") for line in metadata if line.startswith("Version: "))
print(f"{package} {version}")
print("\n".join(sorted(names)))
