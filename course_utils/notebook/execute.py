"""Run a notebook from its first cell to its last, and store what it shows in one fixed form."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from course_utils.errors import CourseError

# Every start of a kernel under these gives the same outputs, byte for byte: no widgets and no progress bars
# (COURSE_STATIC), one order of sets, figures in the notebook, and no colour codes in what is printed.
STATIC = {
    "COURSE_STATIC": "1",
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}
# What editors leave behind: folded cells, clock times, random numbers.
VOLATILE = ("ExecuteTime", "collapsed", "execution", "scrolled", "trusted", "vscode")
DIED = "its Python process died"
CELL_TIMEOUT = 1800  # seconds; a cell that takes half an hour hangs


class NotebookFailed(CourseError):
    """A cell that should have run did not.

    Attributes
    ----------
    notebook : NotebookNode
        What had run until then, outputs and error included.
    reason : str
        Which cell and which error, in one line.
    """

    def __init__(self, path: Path, notebook: NotebookNode, reason: str, log: str = "") -> None:
        super().__init__(f"{path.name} stopped in {reason}" + (f"\n{log}" if log else ""))
        self.notebook, self.reason = notebook, reason


def read(path: Path) -> NotebookNode:
    """Read a notebook file; CourseError where it is missing or is no notebook."""
    if not path.is_file():
        raise CourseError(f"there is no notebook {path}.")
    try:
        raw = path.read_text(encoding="utf-8")
        data = json.loads(raw)
        if not isinstance(data, dict) or not isinstance(data.get("cells"), list):
            raise ValueError("its JSON has no list of cells")
        nbformat.validate(data)
    except (ValueError, nbformat.ValidationError) as error:
        raise CourseError(
            f"{path} is not a Jupyter notebook: {str(error).splitlines()[0][:80]}. "
            "Get the file anew (git checkout), or mend its JSON."
        ) from error
    return nbformat.reads(raw, as_version=4)


def text(nb: NotebookNode) -> str:
    """The notebook as it is written to a file."""
    return nbformat.writes(nb) + "\n"


def execute(
    path: Path, *, threads: int | None = None, on_cell: Callable[[int, int], None] = lambda k, n: None
) -> NotebookNode:
    """Run a notebook in a fresh kernel, in the notebook's own folder.

    Parameters
    ----------
    path : Path
        The notebook; the file is not changed.
    threads : int, optional
        How many threads numpy and torch may use; by default as many as they like.
    on_cell : callable
        Called as ``on_cell(k, n)`` before the k-th of n code cells, k from 1.

    Returns
    -------
    NotebookNode
        The executed notebook, normalized (see `normalize`).

    Raises
    ------
    NotebookFailed
        A cell raised, took longer than half an hour, or its kernel died.
    """
    nb = read(path)
    places = [i for i, cell in enumerate(nb.cells) if cell.cell_type == "code" and cell.source.strip()]
    for cell in (c for c in nb.cells if c.cell_type == "code"):
        cell.outputs, cell.execution_count = [], None
    env = {**os.environ, **STATIC}
    if threads is not None:
        env["OMP_NUM_THREADS"] = str(threads)
    client = NotebookClient(
        nb,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent.resolve())}},
    )
    # A kernel's own messages are noise while all is well and the only trace left when it dies.
    with tempfile.TemporaryFile() as log:
        k = 0
        try:
            with client.setup_kernel(env=env, stdout=log, stderr=log):
                for k, place in enumerate(places, start=1):
                    on_cell(k, len(places))
                    client.execute_cell(nb.cells[place], place)
        except CellExecutionError as error:
            what = f"{error.ename}: {error.evalue}".splitlines()[0]
        except CellTimeoutError:
            what = f"it ran longer than {CELL_TIMEOUT // 60} minutes"
        except (DeadKernelError, RuntimeError) as error:
            if not isinstance(error, DeadKernelError) and "Kernel died" not in str(error):
                raise
            what = f"{DIED}, most often for want of memory; close other programs and run it again"
        else:
            return normalize(nb)
        last_words = _last_words(log) if what.startswith(DIED) else ""
    where = f"code cell {k} of {len(places)}" if k else "its start"
    raise NotebookFailed(path, normalize(nb), f"{where}: {what}", last_words)


def _last_words(log: BinaryIO) -> str:
    """The end of what a kernel wrote, without the notices that every kernel writes."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return "\n".join([line for line in lines if line and not line.startswith("[IPKernelApp]")][-20:])


def normalize(nb: NotebookNode) -> NotebookNode:
    """Bring a notebook into the one form that is stored, in place: no clock times, no editor's traces.

    Outputs stay in their order; text that came in several pieces becomes one. Cell ids and tags stay as they
    are. Of the notebook's own metadata only the kernel is kept.
    """
    nb.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": LANGUAGE})
    for cell in nb.cells:
        for key in VOLATILE:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = _merge_streams(cell.outputs)
    return nb


def _merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and last.output_type == output.output_type == "stream" and last.name == output.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged
