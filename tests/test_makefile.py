"""The set-up's failures: an old Python, an interrupted installation, a change of what is wanted."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from course_utils.paths import repo_root


@pytest.fixture
def clone(tmp_path):
    """A fresh clone's set-up files, and nothing else."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repo_root() / name, tmp_path)
    return tmp_path


def make(folder: Path, *args: str) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    return subprocess.run(["make", *args], cwd=folder, env=env, capture_output=True, text=True)


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_help_is_what_plain_make_shows(clone):
    done = make(clone)
    assert done.returncode == 0 and done.stdout == make(clone, "help").stdout
    assert all(f"make {target} " in done.stdout for target in ("run", "test", "lab"))
    assert not (clone / ".venv").exists()


def test_an_old_python_is_named(clone):
    script(clone / "old", 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi')
    done = make(clone, "PYTHON=./old", "run")
    assert done.returncode != 0 and not (clone / ".venv").exists()
    assert "needs Python 3.11 or newer; './old' is Python 3.9.2." in done.stdout
    assert "make PYTHON=python3.12 run" in done.stdout


def test_an_interrupted_installation_is_not_taken_for_done(clone):
    bin_ = clone / ".venv" / "bin"
    script(clone / "py", f'if [ "$2" = venv ]; then mkdir -p {bin_}; fi')
    script(bin_ / "python", "exit 0")
    script(bin_ / "course", 'echo "course $*"')
    script(bin_ / "uv", "echo network is down >&2; exit 2")
    done = make(clone, "PYTHON=./py", "run")
    assert done.returncode != 0 and "network is down" in done.stderr and "course run" not in done.stdout
    assert not (clone / ".venv" / ".installed").exists()

    script(bin_ / "uv", "exit 0")
    again = make(clone, "PYTHON=./py", "run")
    assert again.returncode == 0 and again.stdout.endswith("Installed.\ncourse run\n")
    assert make(clone, "PYTHON=./py", "run").stdout == "course run\n"

    later = time.time() + 5
    os.utime(clone / "constraints.txt", (later, later))
    assert "Installed." in make(clone, "PYTHON=./py", "run").stdout


def test_without_notebooks_the_lesson_tests_say_so(clone):
    script(clone / ".venv" / ".installed", "")
    script(clone / ".venv" / "bin" / "course", "")
    done = make(clone, "lessons")
    assert done.returncode == 0 and "No notebooks yet" in done.stdout
