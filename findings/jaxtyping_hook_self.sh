#!/usr/bin/env bash
# jaxtyping 0.3.11's import hook with beartype 0.23.1 as type checker: a module with a method that returns typing.Self
# cannot be imported. beartype's own import hook takes the same module, since it decorates classes, whereas jaxtyping's
# hook decorates each method alone, where beartype cannot know which class Self is. A project that has its shapes checked
# while tests run therefore names the class in place of Self.
#
# Seen, on Python 3.11:
#   beartype alone: imported, same() is itself: True
#   jaxtyping's hook: BeartypeDecorHintPep673Exception
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check jaxtyping==0.3.11 beartype==0.23.1 2>/dev/null
mkdir boxes
touch boxes/__init__.py
cat >boxes/box.py <<'PYTHON'
from typing import Self


class Box:
    def same(self) -> Self:
        return self
PYTHON
cat >alone.py <<'PYTHON'
from beartype.claw import beartype_package

beartype_package("boxes")
from boxes.box import Box

box = Box()
print("beartype alone: imported, same() is itself:", box.same() is box)
PYTHON
cat >hooked.py <<'PYTHON'
from jaxtyping import install_import_hook

try:
    with install_import_hook("boxes", "beartype.beartype"):
        import boxes.box
    print("jaxtyping's hook: imported")
except Exception as error:
    print("jaxtyping's hook:", type(error).__name__)
PYTHON
seen="$(venv/bin/python alone.py; venv/bin/python hooked.py)"
echo "$seen"
[ "$seen" = "beartype alone: imported, same() is itself: True
jaxtyping's hook: BeartypeDecorHintPep673Exception" ]
