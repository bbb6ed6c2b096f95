"""Whatever the README shows is run, and must print what it says."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [text for language, text in BLOCKS if language == "sh" and text.startswith("python3 -m venv")]


def without_measurements(text: str) -> str:
    """Scores and large counts differ a little from machine to machine; all else, such as labels and offsets, must be equal."""
    return re.sub(r"\d+\.\d+(e-\d+)?|\d{2,}", "#", text).strip()


def test_readme_has_two_commands_of_one_line_each() -> None:
    assert len(COMMANDS) == 2
    assert all(command.count("\n") == 1 for command in COMMANDS)


def shell(text: str) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONWARNINGS": "ignore",
    }
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], env=environment, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, f"{text}\n{result.stderr}"
    return result.stdout


@pytest.mark.slow
def test_every_snippet_runs_and_prints_what_the_readme_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("corpora", "pipelines"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}  # the Python blocks are one story
    output = ""
    checked = 0
    for language, text in BLOCKS:
        if language == "sh" and text not in COMMANDS:
            output = shell(text)
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(text, names)
            output = stream.getvalue()
        elif language == "text":
            assert without_measurements(output) == without_measurements(text)
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (REPOSITORY / link).exists()


def test_the_task_on_the_page_about_corpus_jobs_runs(tmp_path: Path) -> None:
    page = (REPOSITORY / "korseq" / "processing" / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "lengths.py").write_text(script, encoding="utf-8")
    shutil.copytree(REPOSITORY / "corpora", tmp_path / "corpora")
    subprocess.run([sys.executable, "lengths.py"], cwd=tmp_path, check=True, timeout=120)
    first = (tmp_path / "lengths.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert first.endswith(',"length":26}')
