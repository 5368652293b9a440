"""Fixtures that several tests share."""

from pathlib import Path

import pytest

from course_utils.paths import repo_root


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data beside the repository; a test that needs it is skipped where it is absent."""
    folder = repo_root().parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"real data not found: there is no folder {folder.name!r} beside the repository")
    return folder
