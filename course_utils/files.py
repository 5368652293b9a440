"""Files that are there whole or not at all, and JSON that every program reads."""

import math
import os
import tempfile
from pathlib import Path
from typing import Any


def atomic_write(path: str | Path, content: bytes, *, sync: bool = False) -> None:
    """Write a whole file or none: into a temporary file beside it, then renamed. Missing folders are made.

    With ``sync`` the file also survives a power cut the moment after, at the cost of some milliseconds; without, such
    a cut may leave it empty. The temporary file is called ``.<name>.<8 characters>``; it stays only where the process
    was killed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())  # else a power cut may keep the new name and lose what is in the file
        os.chmod(temporary, 0o644)  # mkstemp makes private files; data are for all
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if sync and os.name == "posix":  # the name itself stands in the folder; Windows cannot open one
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def plain(value: Any) -> Any:
    """The same with lists for tuples, six decimals, and None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value
