"""What every recorded row says besides its numbers: where it was measured, and on which state of the code."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


def row(**measured: Any) -> None:
    """Print one measurement as a JSON line with commit, hardware and versions."""
    from korseq.card import versions
    from korseq.text.kiwi import available_cores

    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
    place = {"commit": commit, "cpu": _cpu(), "cores": available_cores(), "versions": versions()}
    print(json.dumps(measured | place, ensure_ascii=False), flush=True)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
