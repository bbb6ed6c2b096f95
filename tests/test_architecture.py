"""The house: imports go one way, and importing korseq is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import korseq

PACKAGE = Path(__file__).parents[1] / "korseq"

# From the ground up: a room may import from the rooms above it in this list, and from itself. The rooms of one line
# do not know each other: `text` never sees torch, `nn` and `heads` never see text.
FLOORS: list[set[str]] = [
    {"errors", "files", "progress"},
    {"heat_map", "labels", "packing", "registry", "resources", "shapes", "spans", "specials"},
    {"text", "nn"},
    {"heads", "data"},
    {"generation", "model", "tagging", "mapping"},
    {"training"},
    {"config"},
    {"card", "continuation", "given", "identity", "prepare"},
    {"building", "labelled", "saving"},
    {"warm_start", "export", "inspection"},
    {"fitting"},
    {"pipeline"},
    {"processing"},
    {"distillation", "tuning"},
    {"demo", "doctor", "gallery"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: i for i, floor in enumerate(FLOORS) for room in floor}
# Beyond the floors: these rooms stand on the same one or lower, but must stay strangers.
STRANGERS = {("heads", "text"), ("nn", "text"), ("text", "nn")}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    here = room_of(path)
    assert here in LEVEL, f"say in FLOORS where the new room '{here}' stands"
    for name in imports_of(path):
        if name.startswith("korseq."):
            there = name.split(".")[1]
            if there == "__version__":
                continue
            there = korseq._HOMES.get(there, f"korseq.{there}").split(".")[1]  # `from korseq import Pipeline`
            assert there == here or LEVEL[there] < LEVEL[here], f"{here} must not import {name}"
            assert (here, there) not in STRANGERS, f"{here} must not import {name}"


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) == "text"], ids=lambda p: p.name)
def test_text_does_not_import_torch(path: Path) -> None:
    assert not any(name.split(".")[0] == "torch" for name in imports_of(path))


def modules_after(code: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("code", ["import korseq", "import korseq.cli"])
def test_importing_korseq_loads_nothing_heavy(code: str) -> None:
    assert modules_after(code).isdisjoint({"torch", "kiwipiepy", "datasets", "accelerate", "numpy", "pyarrow"})


def test_predicting_needs_neither_datasets_nor_accelerate() -> None:
    assert modules_after("import korseq.pipeline").isdisjoint({"datasets", "accelerate"})
