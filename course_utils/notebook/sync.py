"""Cells that the package writes: synced cells (source of a function or class) and exercise stubs.

A code cell tagged with a dotted name that starts with ``course_utils.`` holds exactly that object's source; a
cell tagged ``exercise:NAME`` holds that exercise's stub. `sync` writes them, a test fails when they differ.

Running a synced cell defines the function anew in the notebook. Code inside the package keeps calling its own
version, so a student's edit takes effect only where the notebook itself passes the function on. Therefore
experiments take the taught function as an argument, and the notebook hands over its own, as in
``run_experiment(..., match=match)``.
What the cell needs (np, torch, other functions) the notebook imports in its first code cell.
"""

import importlib
import inspect
import json
import textwrap
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.notebook.exercises import cell_source, find

SYNC_PREFIX, EXERCISE_PREFIX = "course_utils.", "exercise:"


def read_notebook(path: Path) -> dict:
    """The notebook as its JSON object, every source as one string."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = joined(cell["source"])
    except FileNotFoundError:
        raise CourseError(f"There is no notebook {path}; give the path of an .ipynb file.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CourseError(f"{path} is not a notebook ({error}); restore it from the repository.") from error
    return notebook


def joined(text: str | list[str]) -> str:
    """Notebook files keep long text as a list of lines or as one string; here it is one string."""
    return text if isinstance(text, str) else "".join(text)


def tags(cell: dict) -> list[str]:
    """The tags of a cell."""
    return cell["metadata"].get("tags", [])


def source_of(name: str) -> str:
    """Source text of the function or class with the dotted ``name``, without indentation."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module is there, but something that it imports is not
            continue
        for part in parts[cut:]:
            found = getattr(found, part, None)
        found = getattr(found, "py_func", found)  # numba keeps the Python function there
        if inspect.isfunction(found) or inspect.isclass(found):
            return textwrap.dedent(inspect.getsource(found)).rstrip("\n")
        break
    raise CourseError(f"The tag {name!r} names no function or class; mend the tag or the function's name.")


def expected_source(cell: dict) -> str | None:
    """What the package says stands in ``cell``; None for a cell that is the author's own."""
    if cell["cell_type"] != "code":
        return None
    synced = [tag for tag in tags(cell) if tag.startswith(SYNC_PREFIX)]
    stubs = [tag.removeprefix(EXERCISE_PREFIX) for tag in tags(cell) if tag.startswith(EXERCISE_PREFIX)]
    if len(synced) + bool(stubs) > 1:
        raise CourseError(f"A cell has one source; this one is tagged {', '.join(tags(cell))}. Split it.")
    if synced:
        return source_of(synced[0])
    return cell_source(*map(find, stubs)) if stubs else None


def sync(path: Path, write: bool = True) -> list[str]:
    """Bring the synced and exercise cells of the notebook ``path`` up to date.

    Returns one line per cell that differed. Outputs, ids and all other cells stay; a file without differences
    is not touched, and with ``write=False`` none is.
    """
    notebook = read_notebook(path)
    changed = []
    for n, cell in enumerate(notebook["cells"]):
        try:
            expected = expected_source(cell)
        except CourseError as error:
            raise CourseError(f"{path.name}, cell {n}: {error}") from None
        if expected is not None and cell["source"] != expected:
            cell["source"] = expected
            changed.append(f"{path.name}, cell {n}: {', '.join(tags(cell))}")
    if changed and write:
        for cell in notebook["cells"]:
            cell["source"] = cell["source"].splitlines(keepends=True)
        # The form that Jupyter itself writes, so that the next save in JupyterLab changes nothing else.
        text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
    return changed
