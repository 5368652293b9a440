"""``course run``: execute the notebooks in order and turn them into pages to browse."""

import argparse
import json
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from course_utils.errors import CourseError
from course_utils.notebook.series import SERIES
from course_utils.paths import build_dir, repo_root

HELP = "Execute notebooks in order; keep executed copies and a linked HTML copy under build/."
EXAMPLE = "course run            # the whole series\n  course run 00 01      # two of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course run`` takes."""
    parser.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="number, name or path (default: the whole series)"
    )
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="for maintainers: store the outputs in the notebooks themselves, the same on every run",
    )


def find_notebooks(names: list[str]) -> list[Path]:
    """The notebooks that ``names`` mean, or the whole series; CourseError where a name means none."""
    series = sorted((repo_root() / "notebooks").glob("*.ipynb"))
    if not names:
        if not series:
            raise CourseError(f"there are no notebooks in {repo_root() / 'notebooks'}.")
        return series
    found = []
    for name in names:
        path = Path(name)
        matches = [path] if path.suffix == ".ipynb" and path.is_file() else []
        matches = matches or [p for p in series if p.stem == path.stem or p.stem.split("_")[0] == name]
        if not matches:
            known = ", ".join(p.stem for p in series) or "none"
            raise CourseError(f"there is no notebook {name!r}. Give a path, or one of: {known}.")
        found += matches
    return found


def clock(seconds: float) -> str:
    """65 -> "1:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Progress:
    """Which notebook, which cell, how long, how long to go.

    On a terminal one line that is rewritten every second; in a pipe one line when a notebook starts and one
    when it ends, so that logs stay readable.
    """

    def __init__(self, n: int, out: TextIO) -> None:
        self.n, self.out, self.live = n, out, out.isatty()
        self.label, self.cell, self.started = "", "", 0.0
        self.expected: float | None = None
        self._stop = threading.Event()

    def start(self, i: int, name: str, expected: float | None) -> None:
        """The i-th notebook begins, i from 1; ``expected`` in seconds where it is known."""
        self.label, self.cell, self.expected = f"[{i}/{self.n}] {name}", "starting", expected
        self.started = time.monotonic()
        self._stop.clear()
        if self.live:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()
        else:
            about = f", about {clock(expected)}" if expected else ""
            print(self.label + about, file=self.out, flush=True)

    def on_cell(self, k: int, n: int) -> None:
        """The k-th of n code cells begins."""
        self.cell = f"cell {k}/{n}"

    def end(self, result: str) -> None:
        """The notebook is over; ``result`` stays on the screen."""
        if self.live:
            self._stop.set()
            self._ticker.join()
            print(f"\r\x1b[2K{self.label}  {result}", file=self.out, flush=True)
        else:
            print(f"      {result}", file=self.out, flush=True)

    def _tick(self) -> None:
        while True:
            about = f" of about {clock(self.expected)}" if self.expected else ""
            line = f"{self.label}  {self.cell}  {clock(time.monotonic() - self.started)}{about}"
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[2K{line[:width]}", end="", file=self.out, flush=True)
            if self._stop.wait(1.0):
                return


class Timings:
    """How long each notebook took when it last ran here, in ``build/timings.json``."""

    def __init__(self) -> None:
        self.file = build_dir() / "timings.json"
        try:
            self.seconds: dict[str, float] = json.loads(self.file.read_text())
        except (FileNotFoundError, ValueError):  # the first run, or one that was stopped while it wrote
            self.seconds = {}

    def expected(self, path: Path) -> float | None:
        """Seconds it took last time, or else what the series allows it; None for a notebook of one's own."""
        allowed = {entry.name: 60.0 * entry.minutes for entry in SERIES}
        return self.seconds.get(path.stem, allowed.get(path.stem))

    def keep(self, path: Path, seconds: float) -> None:
        """Remember one run."""
        self.seconds[path.stem] = round(seconds, 1)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.seconds, indent=1, sort_keys=True) + "\n")


def main(args: argparse.Namespace) -> int:
    """Make the data, then execute the notebooks; with --in-place, store their outputs."""
    paths = find_notebooks(args.notebooks)
    _prepare_data()
    return store_outputs(paths) if args.in_place else run(paths, fresh=not args.notebooks)


def _prepare_data() -> None:
    from course_utils.datasets import toyvoc

    toyvoc.ensure()


def run(paths: list[Path], *, fresh: bool) -> int:
    """Execute ``paths`` in order until one fails; write copies and pages of all that ran; the exit code."""
    from course_utils.notebook.execute import NotebookFailed, execute, text

    copies = build_dir() / "notebooks"
    if fresh:
        shutil.rmtree(copies, ignore_errors=True)
        shutil.rmtree(build_dir() / "html", ignore_errors=True)
    copies.mkdir(parents=True, exist_ok=True)
    timings, progress = Timings(), Progress(len(paths), sys.stdout)
    expected = [timings.expected(path) for path in paths]
    known = sum(e for e in expected if e)
    about = f", about {clock(known)} minutes in all" if known else ""
    print(f"Running {len(paths)} notebook{'s' * (len(paths) > 1)}{about}. Ctrl-C stops.")
    failure = None
    try:
        for i, (path, seconds) in enumerate(zip(paths, expected), start=1):
            progress.start(i, path.stem, seconds)
            result = "stopped"
            try:
                nb = execute(path, on_cell=progress.on_cell)
                took = time.monotonic() - progress.started
                timings.keep(path, took)
                result = clock(took)
            except NotebookFailed as error:
                nb, failure = error.notebook, error
                result = f"stopped in {error.reason}"
            finally:
                progress.end(result)
            nb.metadata["run"] = {"folder": str(path.parent.resolve()), "result": result}
            (copies / path.name).write_text(text(nb), encoding="utf-8")
            if failure:
                break
    finally:
        index = write_site(copies)
        if index:
            print(f"\nPages to browse:   {_shown(index)}\nExecuted copies:   {_shown(copies)}")
            print("To work on them:   make lab")
    if failure:
        print(f"\ncourse: {failure}", file=sys.stderr)
    return 1 if failure else 0


def write_site(copies: Path) -> Path | None:
    """Pages of every executed copy; the page of contents, or None where nothing ran."""
    from course_utils.notebook.execute import read
    from course_utils.notebook.pages import Page, write_pages

    pages = []
    for copy in sorted(copies.glob("*.ipynb")):
        nb = read(copy)
        pages.append(Page(copy.stem, nb, Path(nb.metadata["run"]["folder"]), nb.metadata["run"]["result"]))
    return write_pages(pages, build_dir() / "html") if pages else None


def store_outputs(paths: list[Path]) -> int:
    """Execute ``paths`` on one thread and store the outputs in the files; one that fails stays, and raises."""
    from course_utils.notebook.execute import execute, text

    progress = Progress(len(paths), sys.stdout)
    for i, path in enumerate(paths, start=1):
        progress.start(i, path.stem, None)
        result = "stopped, file left as it was"
        try:
            new = text(execute(path, threads=1, on_cell=progress.on_cell))
            same = new == path.read_text(encoding="utf-8")
            if not same:
                path.write_text(new, encoding="utf-8")
            result = f"{'same' if same else 'CHANGED'}  {clock(time.monotonic() - progress.started)}"
        finally:
            progress.end(result)
    return 0


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
