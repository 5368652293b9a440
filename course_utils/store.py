"""The store of results: computed once, found again by the hash of all that made them."""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from course_utils.bundle import check_json, read_bundle, read_info, write_bundle
from course_utils.errors import CourseError, DataError
from course_utils.files import atomic_write
from course_utils.fingerprint import fingerprint
from course_utils.paths import store_dir

if TYPE_CHECKING:  # `course doctor` looks into the store where torch does not import
    from torch import Tensor

    Result = tuple[Mapping[str, Tensor], dict[str, Any]]

SUFFIX = ".safetensors"
_LOCKS, _PARTIAL = "locks", "partial"  # folders beside the kinds
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_TAG = "CACHEDIR.TAG"  # the usual mark of a folder that need not be backed up
_TAG_TEXT = b"""Signature: 8a477f597d28d172789f06886806bc55
# Results of the object detection course. `course doctor --clear-store` empties this folder.
"""


def key_of(
    code: tuple[Any, ...] = (), config: Mapping[str, Any] | None = None, data: str = "", seed: int | None = None
) -> str:
    """The key of a result: hexadecimal SHA-256 of all that it depends on.

    Parameters
    ----------
    code : functions and classes that make the result, see `fingerprint`
    config : what they are called with, as JSON holds it
    data : digest of the data set
    seed : of the random numbers
    """
    stated = {"config": dict(config or {}), "data": data, "seed": seed}
    check_json(stated, "key_of()")
    stated["code"] = fingerprint(*code)
    in_order = json.dumps(stated, sort_keys=True)  # equal dictionaries, equal keys
    return hashlib.sha256(in_order.encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """One result in the store: where it lies, its size in bytes, and what it says of itself."""

    kind: str
    key: str
    path: Path
    size: int
    info: dict[str, Any]


class Store:
    """A folder of results, one file each: ``<kind>/<key>.safetensors``.

    Any number of processes may use it at once: files appear whole, and one process at a time works on a key.
    What a killed process leaves is neither read nor in anybody's way.

    Parameters
    ----------
    folder : where it lies or will lie; by default `paths.store_dir`
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder or store_dir())

    def keep(self, kind: str, key: str, make: Callable[[], "Result"]) -> "Result":
        """The tensors and the info under ``key``; if there are none, ``make()`` makes them first.

        Processes that ask for the same key at the same time wait for the first one's result. What comes back is
        always what was read from the file, so a first run sees what later runs see.
        """
        found = self.read(kind, key)
        if found is None:
            with self._lock(kind, key):
                found = self._read(kind, key)
                if found is None:
                    self._write(kind, key, *make())
                    found = read_bundle(self._path(kind, key))
        return found

    def read(self, kind: str, key: str) -> "Result | None":
        """The tensors and the info under ``key``, None if there are none.

        A damaged file counts as none: it is removed, and a line on stderr says so.
        """
        path = self._path(kind, key)
        if not path.exists():
            return None
        try:
            return read_bundle(path)
        except DataError:
            try:
                with self._lock(kind, key, timeout=0):
                    return self._read(kind, key)  # it may have been made again since
            except Timeout:  # somebody is making it again
                return None

    def write(self, kind: str, key: str, tensors: Mapping[str, "Tensor"], info: dict[str, Any]) -> None:
        """Put a result under ``key``, in place of what is there. The key's journal, if any, has served and goes."""
        with self._lock(kind, key):
            self._write(kind, key, tensors, info)

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """Every whole result of a kind (None: of all), by kind and key; a line on stderr names each damaged one."""
        for found, key, path in self.files(kind):
            try:
                info, size = read_info(path), path.stat().st_size
            except (DataError, FileNotFoundError) as error:
                if path.exists():  # else it was removed since
                    _tell(str(error))
            else:
                yield Entry(found, key, path, size, info)

    def files(self, kind: str | None = None) -> Iterator[tuple[str, str, Path]]:
        """Kind, key and file of every result, whole or damaged."""
        for path in sorted(self.folder.glob(f"{kind or '*'}/*{SUFFIX}")):
            kind, key = path.parent.name, path.name.removesuffix(SUFFIX)
            if kind not in (_LOCKS, _PARTIAL) and _NAME.fullmatch(key):
                yield kind, key, path

    def journal(self, kind: str, key: str) -> "Journal":
        """Finished parts of work that is not yet a result; see `Journal`."""
        self._path(kind, key)
        return Journal(self, self.folder / _PARTIAL / kind / key)

    def unfinished(self, kind: str | None = None) -> Iterator[tuple[str, str, int]]:
        """Kind, key and number of parts of every journal."""
        for folder in sorted(self.folder.glob(f"{_PARTIAL}/{kind or '*'}/*")):
            yield folder.parent.name, folder.name, len(list(folder.glob(f"[!.]*{SUFFIX}")))

    def clear(self, kind: str | None = None) -> int:
        """Remove the results of a kind (None: of all), journals, and what killed processes left.

        What another process is working on stays. Returns how many results went.
        """
        self.check_folder()
        names = {(found, key) for found, key, _ in self.files(kind)}
        names |= {(found, key) for found, key, _ in self.unfinished(kind)}
        for leftover in self.folder.glob(f"{kind or '*'}/.*{SUFFIX}.????????"):
            names.add((leftover.parent.name, leftover.name[1:-9].removesuffix(SUFFIX)))
        removed = 0
        for found, key in sorted(names):
            with suppress(Timeout), self._lock(found, key, timeout=0):
                path = self._path(found, key)
                removed += path.exists()
                path.unlink(missing_ok=True)
                self._tidy(found, key)
        return removed

    def check_folder(self) -> None:
        """Raise `CourseError` if the folder holds other files; such a one is never written to or emptied."""
        tag = self.folder / _TAG
        if not tag.exists() and self.folder.is_dir():
            used = any(not path.name.startswith(".") for path in self.folder.iterdir())
            if used and not tag.exists():  # looked again: another process may have begun the store just now
                raise CourseError(
                    f"{self.folder} holds other files and is no store of results (it has no {_TAG}). "
                    "Set COURSE_STORE to an empty or new folder."
                )

    def _path(self, kind: str, key: str) -> Path:
        for what, name in (("kind", kind), ("key", key)):
            if not _NAME.fullmatch(name):
                raise CourseError(f"A {what} in the store is made of letters, digits and - _ . ; got {name!r}.")
        if kind in (_LOCKS, _PARTIAL):
            raise CourseError(f"The store uses the name {kind!r} itself; choose another kind.")
        return self.folder / kind / f"{key}{SUFFIX}"

    @contextmanager
    def _lock(self, kind: str, key: str, timeout: float = -1) -> Iterator[None]:
        self._claim()
        path = self.folder / _LOCKS / kind / f"{key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        # The lock is the operating system's and belongs to an open file: it ends with the process that holds it,
        # however that dies. The lock file stays, empty: who deletes it would let two processes lock two files.
        lock = FileLock(path)
        try:
            lock.acquire(timeout=1 if timeout < 0 else timeout)
        except Timeout:
            if timeout >= 0:
                raise
            print(f"another process is making {kind}/{key[:8]}; waiting for it", file=sys.stderr, flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _claim(self) -> None:
        """Mark the folder as a store."""
        self.check_folder()
        if not (self.folder / _TAG).exists():
            atomic_write(self.folder / _TAG, _TAG_TEXT)

    def _read(self, kind: str, key: str) -> "Result | None":
        """With the lock held: read, and remove what is damaged."""
        path = self._path(kind, key)
        if not path.exists():
            return None
        try:
            return read_bundle(path)
        except DataError:
            _tell(f"{path} is damaged and was removed from the store; it is made again when it is needed.")
            path.unlink()
            return None

    def _write(self, kind: str, key: str, tensors: Mapping[str, "Tensor"], info: dict[str, Any]) -> None:
        """With the lock held: write, and remove what is done with."""
        write_bundle(self._path(kind, key), tensors, info)
        self._tidy(kind, key)

    def _tidy(self, kind: str, key: str) -> None:
        """With the lock held: nobody else writes this key, so its temporary files are those of killed processes."""
        path = self._path(kind, key)
        for leftover in path.parent.glob(f".{path.name}.????????"):
            leftover.unlink()
        self.journal(kind, key).clear()


class Journal:
    """The finished parts of long work, numbered in order; they outlive the process and are taken up again.

    Meant for use inside the ``make`` of `Store.keep`, whose lock keeps a second process away.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self._next: int | None = None

    def parts(self) -> list["Result"]:
        """The parts up to the first that is missing or damaged; what lies behind that is removed."""
        found = []
        while (path := self._part(len(found))).exists():
            try:
                found.append(read_bundle(path))
            except DataError:
                _tell(f"{path} is damaged; this part and those behind it are removed and made again.")
                break
        for path in self.folder.glob(f"*{SUFFIX}"):
            if path.name >= self._part(len(found)).name:
                path.unlink()
        self._next = len(found)
        return found

    def append(self, tensors: Mapping[str, "Tensor"], info: dict[str, Any]) -> None:
        """Add a part after those that `parts` gives."""
        if self._next is None:
            self.parts()
        self.store._claim()
        path = self._part(self._next)
        if path.exists():
            raise CourseError(f"{path} exists: another process does the same work. Let it finish, or stop one of them.")
        write_bundle(path, tensors, info)
        self._next += 1

    def replace(self, tensors: Mapping[str, "Tensor"], info: dict[str, Any]) -> None:
        """Put one part in place of the first, at once: the newest state of work that needs no older ones."""
        self.store._claim()
        write_bundle(self._part(0), tensors, info)

    def clear(self) -> None:
        """Forget all parts."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._next = 0

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06d}{SUFFIX}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
