"""`course sync` writes what the package says, nothing else, and says what differs."""

import inspect
import json
import sys
import types

import exercise_samples
import nbformat
import pytest

from course_utils import cli
from course_utils.errors import CourseError
from course_utils.notebook import series
from course_utils.notebook.exercises import cell_source
from course_utils.notebook.sync import source_of, sync

FOLLOWING = "course_utils.notebook.series.following"


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A notebook as Jupyter stores it, with a synced cell and an exercise that are out of date."""
    module = types.ModuleType("course_utils.exercises.nb01")
    module.EXERCISES = exercise_samples.EXERCISES
    monkeypatch.setitem(sys.modules, module.__name__, module)
    output = nbformat.v4.new_output("stream", text="kept – as it is\n")
    cells = [
        nbformat.v4.new_markdown_cell("# Title\nÜber Boxen", id="first"),
        nbformat.v4.new_code_cell("old", id="synced", metadata={"tags": [FOLLOWING]}, outputs=[output]),
        nbformat.v4.new_code_cell("old", id="stub", metadata={"tags": ["exercise:01.area"]}),
        nbformat.v4.new_code_cell("x = 1\ny = 2\n", id="own"),
    ]
    path = tmp_path / "lesson.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_sync_writes_the_sources_and_nothing_else(path):
    before = json.loads(path.read_text())
    changed = sync(path)
    after = json.loads(path.read_text())

    assert changed == [f"lesson.ipynb, cell 1: {FOLLOWING}", "lesson.ipynb, cell 2: exercise:01.area"]
    assert "".join(after["cells"][1]["source"]) == inspect.getsource(series.following).rstrip("\n")
    area = next(e for e in exercise_samples.EXERCISES if e.name == "01.area")
    assert "".join(after["cells"][2]["source"]) == cell_source(area)
    for cell in (1, 2):
        before["cells"][cell].pop("source")
        after["cells"][cell].pop("source")
    assert after == before


def test_second_sync_leaves_every_byte(path):
    sync(path)
    stamp, text = path.stat().st_mtime_ns, path.read_bytes()
    assert sync(path) == []
    assert (path.stat().st_mtime_ns, path.read_bytes()) == (stamp, text)


def test_written_file_is_what_jupyter_would_write(path):
    sync(path)
    written = path.read_text()
    nbformat.write(nbformat.read(path, as_version=4), path)
    assert path.read_text() == written


def test_an_oddly_formatted_notebook_in_sync_is_left_alone(path):
    sync(path)
    odd = json.dumps(json.loads(path.read_text()), indent=4)
    path.write_text(odd)
    assert sync(path) == []
    assert path.read_text() == odd


def test_check_names_what_differs_and_writes_nothing(path, capsys):
    text = path.read_bytes()
    assert cli.main(["sync", "--check", str(path)]) == 1
    assert path.read_bytes() == text
    assert f"differs: lesson.ipynb, cell 1: {FOLLOWING}" in capsys.readouterr().out

    assert cli.main(["sync", str(path)]) == 0
    assert cli.main(["sync", "--check", str(path)]) == 0
    assert "already in sync" in capsys.readouterr().out


def test_edited_synced_cell_is_found(path):
    sync(path)
    path.write_text(path.read_text().replace("entry.number + 1", "entry.number + 2"))
    assert sync(path, write=False) == [f"lesson.ipynb, cell 1: {FOLLOWING}"]


def test_synced_cell_runs_in_the_notebook_and_an_edit_has_an_effect_there():
    space = {"SERIES": series.SERIES, "Notebook": series.Notebook}
    exec(source_of(FOLLOWING), space)
    assert space["following"](series.SERIES[0]) is series.SERIES[1]
    exec(source_of(FOLLOWING).replace("entry.number + 1", "entry.number + 2"), space)
    assert space["following"](series.SERIES[0]) is series.SERIES[2]
    assert series.following(series.SERIES[0]) is series.SERIES[1]


def test_source_of_methods_classes_and_compiled_functions(monkeypatch):
    assert source_of("course_utils.notebook.series.Notebook.heading.fget").startswith("@property")
    assert source_of("course_utils.notebook.budget.Budget.report").startswith("def report(self)")
    assert source_of("course_utils.notebook.series.Notebook").startswith("@dataclass(frozen=True)\nclass Notebook:")
    compiled = types.SimpleNamespace(py_func=series.following)
    monkeypatch.setattr(series, "compiled", compiled, raising=False)
    assert source_of("course_utils.notebook.series.compiled") == source_of(FOLLOWING)


@pytest.mark.parametrize(
    "name",
    [
        "course_utils.no_such",
        "course_utils.notebook.series.no_such",
        "course_utils.notebook.series.SERIES",
        "course_utils.plots",
    ],
)
def test_tag_that_names_nothing_is_one_clear_error(path, capsys, name):
    path.write_text(path.read_text().replace(FOLLOWING, name))
    assert cli.main(["sync", str(path)]) == 2
    err = capsys.readouterr().err
    assert f"lesson.ipynb, cell 1: The tag '{name}' names no function or class" in err
    assert "Traceback" not in err


def test_a_module_that_cannot_be_imported_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "broken_room.py").write_text("import package_that_nobody_has\n")
    import course_utils

    monkeypatch.setattr(course_utils, "__path__", [*course_utils.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="package_that_nobody_has"):
        source_of("course_utils.broken_room.f")


def test_cell_with_two_sources_is_refused(path):
    path.write_text(path.read_text().replace(f'"{FOLLOWING}"', f'"{FOLLOWING}", "exercise:01.area"'))
    with pytest.raises(CourseError, match="cell 1: A cell has one source"):
        sync(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cells": 3}', "not json"])
def test_file_that_is_no_notebook(tmp_path, content):
    path = tmp_path / "bad.ipynb"
    path.write_text(content)
    with pytest.raises(CourseError, match=r"bad\.ipynb is not a notebook"):
        sync(path)


def test_missing_notebook(tmp_path):
    with pytest.raises(CourseError, match=r"There is no notebook .*gone\.ipynb"):
        sync(tmp_path / "gone.ipynb")
