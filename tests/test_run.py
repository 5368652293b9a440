"""`course run`: executing notebooks, telling how it goes, storing outputs."""

import io
import json
import sys
import types
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils import cli
from course_utils.commands import run
from course_utils.errors import CourseError
from course_utils.notebook import execute


def write(path: Path, *sources: str) -> Path:
    """A notebook of code cells under a title."""
    cells = [new_markdown_cell(f"# Title of {path.stem}"), *(new_code_cell(source) for source in sources)]
    for i, cell in enumerate(cells):
        cell.id = f"cell-{i}"
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder that stands for the repository; data are made at once."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(run, "repo_root", lambda: tmp_path)
    monkeypatch.setattr(run, "build_dir", lambda: tmp_path / "build")
    monkeypatch.setattr(run, "_prepare_data", lambda: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_series_runs_until_a_cell_fails(course, capsys):
    lessons = course / "notebooks"
    (lessons / "beside.txt").write_text("found beside the notebook")
    write(
        lessons / "00_good.ipynb",
        "import os\nprint(open('beside.txt').read(), os.environ['COURSE_STATIC'])",
        "6 * 7",
    )
    write(lessons / "01_bad.ipynb", "print('before')", "[][3]", "print('never')")
    write(lessons / "02_after.ipynb", "1")
    source = (lessons / "00_good.ipynb").read_text()
    stale = course / "build" / "html" / "99_renamed.html"
    stale.parent.mkdir(parents=True)
    stale.touch()

    assert cli.main(["run"]) == 1

    out, err = capsys.readouterr()
    reason = "stopped in code cell 2 of 3: IndexError: list index out of range"
    assert err == f"\ncourse: 01_bad.ipynb {reason}\n"
    assert "[1/3] 00_good" in out and "[2/3] 01_bad" in out and "[3/3]" not in out and "\r" not in out
    assert "build/html/index.html" in out and "build/notebooks" in out
    good = nbformat.read(course / "build/notebooks/00_good.ipynb", 4)
    assert good.cells[1].outputs[0].text == "found beside the notebook 1\n"
    assert good.cells[2].outputs[0].data["text/plain"] == "42" and good.cells[2].execution_count == 2
    pages = {p.name: p.read_text() for p in (course / "build/html").iterdir()}
    assert set(pages) == {"index.html", "00_good.html", "01_bad.html"}
    assert 'href="01_bad.html"' in pages["00_good.html"] and 'href="00_good.html"' in pages["01_bad.html"]
    assert "before" in pages["01_bad.html"] and "IndexError" in pages["01_bad.html"]
    assert reason in pages["index.html"] and "Title of 00_good" in pages["index.html"]
    assert list(json.loads((course / "build/timings.json").read_text())) == ["00_good"]
    assert (lessons / "00_good.ipynb").read_text() == source


def test_outputs_are_stored_byte_for_byte_the_same(course, capsys):
    path = write(
        course / "notebooks" / "00_x.ipynb",
        "import sys, os\nfor i in range(3):\n    print(i, flush=True)\n    print(i, file=sys.stderr)",
        "print(os.environ['OMP_NUM_THREADS'], hash('abc'), flush=True)\nprint('y')",
    )
    nb = nbformat.read(path, 4)
    nb.metadata.update(widgets={"state": {}}, kernelspec={"name": "other", "display_name": "Mine"}, toc={"base": 1})
    nb.cells[1].metadata.update(collapsed=True, execution={"iopub.execute_input": "2026"}, tags=["kept"])
    nbformat.write(nb, path)

    assert cli.main(["run", "--in-place"]) == 0
    first = path.read_text()
    assert cli.main(["run", "00", "--in-place"]) == 0

    assert path.read_text() == first
    results = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("   ")]
    assert results == ["CHANGED", "same"]
    nb = nbformat.reads(first, 4)
    assert nb.metadata == {"kernelspec": execute.KERNELSPEC, "language_info": execute.LANGUAGE}
    assert [cell.id for cell in nb.cells] == ["cell-0", "cell-1", "cell-2"]
    assert nb.cells[1].metadata == {"tags": ["kept"]}
    assert nb.cells[2].outputs[0].text.startswith("1 ") and len(nb.cells[2].outputs) == 1
    assert not (course / "build" / "html").exists()


def test_a_dead_kernel_is_named(course, capsys):
    path = write(course / "own.ipynb", "import os\nos._exit(3)")
    before = path.read_text()
    assert cli.main(["run", str(path), "--in-place"]) == 2
    err = capsys.readouterr().err
    assert "own.ipynb stopped in code cell 1 of 1: its Python process died" in err and "memory" in err
    assert "TCP" not in err and path.read_text() == before


def test_consecutive_pieces_of_one_stream_become_one():
    def piece(name, text):
        return nbformat.v4.new_output("stream", name=name, text=text)

    picture = nbformat.v4.new_output("display_data", data={"text/plain": "picture"})
    outputs = [
        piece("stdout", "a"),
        piece("stdout", "b"),
        piece("stderr", "c"),
        piece("stdout", "d"),
        picture,
    ]
    nb = new_notebook(cells=[new_code_cell("x", outputs=[*outputs, piece("stdout", "e")])])
    texts = [o.get("text", "picture") for o in execute.normalize(nb).cells[0].outputs]
    assert texts == ["ab", "c", "d", "picture", "e"]


def test_ctrl_c_keeps_the_pages_of_what_ran(course, capsys, monkeypatch):
    for name in ("00_a", "01_b"):
        write(course / "notebooks" / f"{name}.ipynb", "1")

    def fake(path, on_cell):
        if path.stem == "01_b":
            raise KeyboardInterrupt
        return execute.normalize(execute.read(path))

    monkeypatch.setattr(execute, "execute", fake)
    assert cli.main(["run"]) == 130
    out, err = capsys.readouterr()
    assert "stopped" in out and "build/html/index.html" in out and err.strip() == "course: stopped."
    assert {p.name for p in (course / "build/html").iterdir()} == {"index.html", "00_a.html"}


def test_running_one_notebook_keeps_the_pages_of_the_others(course, monkeypatch, capsys):
    monkeypatch.setattr(execute, "execute", lambda path, on_cell: execute.normalize(execute.read(path)))
    for name in ("00_a", "01_b"):
        write(course / "notebooks" / f"{name}.ipynb", "1")
        assert cli.main(["run", name]) == 0
    index = (course / "build/html/index.html").read_text()
    assert "00_a.html" in index and "01_b.html" in index


def test_data_are_prepared_first(monkeypatch, tmp_path):
    order = []
    toyvoc = types.ModuleType("course_utils.datasets.toyvoc")
    toyvoc.ensure = lambda: order.append("data")
    monkeypatch.setitem(sys.modules, "course_utils.datasets.toyvoc", toyvoc)
    monkeypatch.setattr("course_utils.datasets.toyvoc", toyvoc, raising=False)
    monkeypatch.setattr(run, "run", lambda paths, fresh: order.append("run") or 0)
    path = write(tmp_path / "a.ipynb", "1")
    assert cli.main(["run", str(path)]) == 0
    assert order == ["data", "run"]


@pytest.mark.parametrize("name", ["07", "07_nothing", "missing.ipynb", "notebooks"])
def test_unknown_notebook(course, name, capsys):
    write(course / "notebooks" / "00_start_here.ipynb", "1")
    assert cli.main(["run", name]) == 2
    err = capsys.readouterr().err
    assert f"there is no notebook {name!r}" in err and "00_start_here" in err and err.count("\n") == 1


def test_notebooks_are_found_by_number_name_and_path(course):
    paths = [write(course / "notebooks" / f"{s}.ipynb", "1") for s in ("00_a", "01_b")]
    own = write(course / "own.ipynb", "1")
    assert run.find_notebooks([]) == paths
    assert run.find_notebooks(["01", "00_a", "own.ipynb"]) == [paths[1], paths[0], Path("own.ipynb")]
    assert run.find_notebooks([str(own), "00_a.ipynb"]) == [own, paths[0]]


def test_no_notebooks_at_all(course, capsys):
    assert cli.main(["run"]) == 2
    assert "there are no notebooks in" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"nbformat": 4, "nbformat_minor": 5}'])
def test_a_file_that_is_no_notebook(tmp_path, text):
    path = tmp_path / "broken.ipynb"
    path.write_text(text)
    with pytest.raises(CourseError, match=r"broken\.ipynb is not a Jupyter notebook"):
        execute.read(path)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_on_a_terminal_rewrites_one_line():
    out = Terminal()
    progress = run.Progress(2, out)
    progress.start(1, "00_a", 65)
    progress.on_cell(3, 9)
    progress.end("1:07")
    assert "[1/2] 00_a  starting  0:00 of about 1:05" in out.getvalue()
    assert out.getvalue().count("\n") == 1 and out.getvalue().endswith("\r\x1b[2K[1/2] 00_a  1:07\n")


def test_progress_in_a_pipe_has_no_control_characters():
    out = io.StringIO()
    progress = run.Progress(1, out)
    progress.start(1, "00_a", None)
    progress.on_cell(1, 2)
    progress.end("0:03")
    assert out.getvalue() == "[1/1] 00_a\n      0:03\n"


def test_expected_time_is_that_of_the_last_run_or_of_the_series(course):
    timings = run.Timings()
    assert timings.expected(Path("00_start_here.ipynb")) == 60.0
    assert timings.expected(Path("own.ipynb")) is None
    timings.keep(Path("00_start_here.ipynb"), 41.26)
    assert run.Timings().expected(Path("00_start_here.ipynb")) == 41.3
    assert run.clock(41.3) == "0:41" and run.clock(3725) == "62:05"
