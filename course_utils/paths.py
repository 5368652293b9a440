"""Where things lie: the repository, the data, the store of results, the build folder."""

import os
from pathlib import Path


def repo_root() -> Path:
    """Folder that holds ``notebooks/`` and ``course_utils/`` (the package is installed from there, editable)."""
    return Path(__file__).resolve().parents[1]


def data_dir() -> Path:
    """Data that ships or is made on first use; ``COURSE_DATA`` moves it."""
    return Path(os.environ.get("COURSE_DATA", repo_root() / "data"))


def store_dir() -> Path:
    """Results that were computed once; ``COURSE_STORE`` moves it."""
    return Path(os.environ.get("COURSE_STORE", data_dir() / "store"))


def build_dir() -> Path:
    """Executed copies of the notebooks and their pages; safe to delete."""
    return repo_root() / "build"
