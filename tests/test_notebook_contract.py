"""Every notebook keeps every rule of the contract, and every rule can fail."""

import base64
import copy
import dataclasses
import functools
import json
import sys
import types

import exercise_samples
import pytest

from course_utils.notebook import contract
from course_utils.notebook.contract import RULES, TAGS, Book, Problem
from course_utils.notebook.exercises import cell_source
from course_utils.notebook.series import SERIES, following, notebook
from course_utils.notebook.sync import source_of
from course_utils.paths import repo_root

read_once = functools.cache(contract.read)
NOTEBOOKS = sorted((repo_root() / "notebooks").glob("*.ipynb"))
SYNCED = "course_utils.notebook.series.following"
SAMPLES = {exercise.name: exercise for exercise in exercise_samples.EXERCISES}
OTHER = dataclasses.replace(SAMPLES["01.area"], name="02.area")


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_the_rule(path, name):
    found = [str(Problem(name, cell, text)) for cell, text in RULES[name](read_once(path))]
    assert not found, "\n".join(found)


# One good notebook, and for each rule at least one change that breaks this rule and no other.


@pytest.fixture(autouse=True)
def _samples_are_notebook_01(monkeypatch, request):
    if "path" in request.fixturenames:
        return
    for number, exercises in ("01", exercise_samples.EXERCISES), ("02", [OTHER]):
        module = types.ModuleType(f"course_utils.exercises.nb{number}")
        module.EXERCISES = exercises
        monkeypatch.setitem(sys.modules, module.__name__, module)


def markdown(text, *tags, slide="-"):
    return {"cell_type": "markdown", "metadata": meta(tags, slide), "source": text}


def code(text, *tags, outputs=(), slide="-"):
    return {
        "cell_type": "code", "metadata": meta(tags, slide), "source": text, "outputs": list(outputs),
        "execution_count": None,
    }  # fmt: skip


def meta(tags, slide):
    return {"slideshow": {"slide_type": slide}} | ({"tags": list(tags)} if tags else {})


def printed(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def drawn(alt="A cat on a sofa.", mime="image/png", kind="display_data"):
    data = {mime: base64.b64encode(b"picture").decode(), "text/plain": "[picture]"}
    return {"output_type": kind, "data": data, "metadata": {mime: {"alt": alt}} if alt else {}}


def stub(*names, tag=()):
    verdicts = [printed(f"○ {name}: not tried yet\n") for name in names]
    tags = [f"exercise:{name}" for name in names]
    return code(cell_source(*(SAMPLES[name] for name in names)), *tags, *tag, outputs=verdicts, slide="skip")


PROSE = " ".join(["A sentence of exactly seven words here."] * 15)
PHOTO = 'fig, ax = plt.subplots()\nax.plot([0, 1])\nshow_figure(fig, "A cat on a sofa.")'


def good() -> Book:
    entry = notebook("01_boxes_and_metrics")
    cells = [
        markdown(f"{entry.heading}\n\nNo picture says how well it fits.", "open-problem", slide="slide"),
        markdown("**You will**\n- one\n- two\n- three\n\nAbout 1 minute on a laptop.", "goals"),
        code(
            "import matplotlib.pyplot as plt\nimport numpy as np\n\n"
            "from course_utils.notebook.budget import Budget\n"
            "from course_utils.notebook.exercises import check, predict, solution\n"
            "from course_utils.notebook.series import SERIES, Notebook\n"
            "from course_utils.plots import show_figure\n\n"
            'budget = Budget("01_boxes_and_metrics")',
            outputs=[printed("This notebook takes about 1 minute.\n")],
        ),
        markdown(f"## An idea\n{PROSE}", "lecture:8010", slide="slide"),
        code(PHOTO, "photo", outputs=[drawn(mime="image/jpeg")]),
        markdown(PROSE),
        code(source_of(SYNCED), SYNCED, slide="skip"),
        markdown(PROSE),
        code("assert following(SERIES[0]).number == 1", "check"),
        stub("01.conv_size", "01.log2"),
        stub("01.area"),
        stub("01.scale"),
        stub("01.Counter"),
        stub("01.count_large", tag=["find-the-bug"]),
        code('predict("Which?", ["this", "that"])', "predict", outputs=[printed("Predict: Which?\n")]),
        code("plt.plot([0, 1])\nplt.show()", outputs=[drawn(alt=None)]),
        markdown("Figure 2. A line that rises from left to right."),
        code("total = np.sum([1, 2])\nassert total == 3"),
        code("assert total > 0\ntotal", outputs=[printed("3.142")]),
    ]
    cells += [markdown(PROSE) for _ in range(10)]
    cells += [
        code("budget.report()", outputs=[printed("Budget of this notebook: 1 minute.\n")]),
        markdown("- one\n- two\n- three\n\nBut templates are rigid: 02_hog_linear_svm.", "closing", slide="slide"),
    ]
    for n, cell in enumerate(cells):
        cell["id"] = f"cell-{n}"
    data = {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    book = Book(repo_root() / "notebooks" / entry.filename, data, bytes=200_000)
    number(book)
    return book


SETUP, IDEA, PHOTO_AT, SYNCED_AT, CHECK, AREA = 2, 3, 4, 6, 8, 10
BUG, PREDICT, LINE, CAPTION, SUM, LAST, REPORT = 13, 14, 15, 16, 17, 18, -2
MUTATIONS = []


def breaks(rule_name, words=""):
    """Register a change of the good notebook breaking ``rule_name`` alone, with ``words`` in the message."""

    def register(change):
        MUTATIONS.append(pytest.param(rule_name, change, words, id=f"{rule_name}: {change.__name__.strip('_')}"))
        return change

    return register


def edit(cell, old, new):
    assert old in cell["source"]
    cell["source"] = cell["source"].replace(old, new)


@breaks("file_name", "rename it")
def outside_the_series(book):
    book.path = book.path.with_name("01_more.ipynb")
    edit(book.cells[SETUP], "01_boxes_and_metrics", "01_more")


@breaks("cell_ids", "used twice")
def same_id_twice(book):
    book.cells[4]["id"] = book.cells[3]["id"]


@breaks("cell_ids", "missing")
def no_id(book):
    del book.cells[4]["id"]


@breaks("cell_ids", "format 4.5")
def old_format(book):
    book.data["nbformat_minor"] = 4


@breaks("kernel", "python3")
def own_kernel(book):
    book.data["metadata"]["kernelspec"]["name"] = "my-venv"


@breaks("no_widgets", "widget state")
def widget_state(book):
    book.data["metadata"]["widgets"] = {}


@breaks("no_widgets", "stores a widget")
def widget_output(book):
    view = {"application/vnd.jupyter.widget-view+json": {}}
    book.cells[PREDICT]["outputs"].append({"output_type": "display_data", "data": view, "metadata": {}})


@breaks("weight", "1.60 MB")
def heavy(book):
    book.bytes = 1_600_000


@breaks("title", "# 01 · Boxes and metrics")
def other_title(book):
    edit(book.cells[0], "Boxes", "Bozes")


@breaks("title", "use ##")
def second_title(book):
    edit(book.cells[IDEA], "## An", "# An")


@breaks("open_problem", "left open")
def nothing_open(book):
    del book.cells[0]["metadata"]["tags"]


@breaks("goals", "first three")
def goals_late(book):
    book.cells[3]["metadata"]["tags"] = ["goals"]
    book.cells[1]["metadata"].pop("tags")


@breaks("goals", "three bullets; this one has 2")
def two_goals(book):
    edit(book.cells[1], "- two\n", "")


@breaks("minutes", "'1 minute'")
def other_minutes(book):
    edit(book.cells[1], "1 minute", "11 minutes")


@breaks("closing", "and no other")
def no_closing(book):
    del book.cells[-1]["metadata"]["tags"]


@breaks("closing", "this one has 4")
def four_answers(book):
    edit(book.cells[-1], "- two", "- two\n- two and a half")


@breaks("closing", "02_hog_linear_svm")
def no_next(book):
    edit(book.cells[-1], "02_hog_linear_svm", "the next one")


@breaks("cell_count", "29 cells")
def few_cells(book):
    book.cells[21]["source"] += "\n\n".join([PROSE, PROSE])
    del book.cells[19:21]


@breaks("cell_count", "61 cells")
def many_cells(book):
    for n in range(30):
        book.cells.insert(19, markdown("word") | {"id": f"more-{n}"})


@breaks("words", "words of prose")
def few_words(book):
    for cell in book.cells[20:29]:
        cell["source"] = "Short."


@breaks("words", "words of prose")
def many_words(book):
    edit(book.cells[20], "A sentence", "word " * 2000)


@breaks("code_lines", "lines of code")
def much_code(book):
    for n in range(10):
        book.cells.insert(SUM + 1, code("\n".join(["total += 1"] * 24)) | {"id": f"more-{n}"})


@breaks("cell_lines", "26 lines")
def long_cell(book):
    book.cells[SUM]["source"] += "\n# one more" * 24


@breaks("synced", "differs from the package")
def edited_synced_cell(book):
    edit(book.cells[SYNCED_AT], "+ 1", "+ 2")


@breaks("synced", "differs from the package")
def edited_stub(book):
    edit(book.cells[AREA], "raise NotImplementedError", "pass")


@breaks("synced", "names no function or class")
def tag_without_function(book):
    book.cells[SYNCED_AT]["metadata"]["tags"] = ["course_utils.notebook.series.next_one"]


@breaks("names", "np is defined neither")
def missing_import(book):
    edit(book.cells[SETUP], "import numpy as np\n", "")


@breaks("names", "scale_factor is defined neither")
def name_missing_inside_a_function(book):
    book.cells[SUM]["source"] += "\ndef later(x):\n    return [scale_factor * v for v in x]"


@breaks("names", "is not Python")
def syntax_error(book):
    book.cells[SUM]["source"] += "\nassert ("


@breaks("exercises", "2 exercises")
def few_exercises(book):
    book.cells[AREA] |= code("assert True")


@breaks("exercises", "0 exercises of the kind find-the-bug")
def no_bug(book):
    book.cells[BUG] |= code("assert True")


@breaks("exercises", "exactly the exercise of that kind")
def bug_untagged(book):
    book.cells[BUG]["metadata"]["tags"].remove("find-the-bug")


@breaks("exercises", "belongs to another notebook")
def exercise_of_another_notebook(book):
    book.cells[AREA]["metadata"]["tags"] = ["exercise:02.area"]
    book.cells[AREA]["source"] = cell_source(OTHER)


@breaks("exercises", "prints a solution")
def solution_given_away(book):
    book.cells[SUM]["source"] += '\nsolution("01.area")'
    book.cells[SUM]["outputs"] = [printed("def area")]


@breaks("exercises", "no cell imports solution")
def solution_out_of_reach(book):
    edit(book.cells[SETUP], "check, predict, solution", "check, predict")


@breaks("prediction", "tagged predict")
def no_prediction(book):
    del book.cells[PREDICT]["metadata"]["tags"]


@breaks("prediction", "does not call predict")
def prediction_without_a_call(book):
    edit(book.cells[PREDICT], "predict(", "print(")


@breaks("checks", "2 cells assert")
def few_asserts(book):
    edit(book.cells[SUM], "assert total == 3", "total += 0")


@breaks("checks", "asserts nothing")
def check_without_assert(book):
    book.cells[SETUP]["metadata"]["tags"] = ["check"]


@breaks("checks", "next 6 cells")
def built_and_not_checked(book):
    first = book.cells[CHECK]
    edit(first, "assert ", "same = ")
    del first["metadata"]["tags"]
    book.cells[LAST]["source"] = "assert total\n" + book.cells[LAST]["source"]
    book.cells[REPORT]["source"] = "assert same\nbudget.report()"


@breaks("budget", "Budget(")
def no_budget(book):
    edit(book.cells[SETUP], 'Budget("01_boxes_and_metrics")', 'Budget("02_hog_linear_svm")')


@breaks("budget", "budget.report()")
def no_report(book):
    edit(book.cells[REPORT], "budget.report()", "print(budget)")


@breaks("no_downloads", "git clone")
def clone(book):
    book.cells[SUM]["source"] += "\n!git clone repository"


@breaks("no_downloads", "http")
def linked_image(book):
    edit(book.cells[IDEA], "## An idea", "## An idea\n![a cat](https://example.org/cat.png)")


@breaks("executed", "not 1")
def not_run(book):
    book.cells[SETUP]["execution_count"] = None


@breaks("executed", "not 3")
def out_of_order(book):
    book.cells[SYNCED_AT]["execution_count"] = 30


@breaks("executed", "it is empty")
def empty_cell(book):
    book.cells[CHECK + 1] |= code("")
    number(book)


@breaks("outputs_present", "no output is stored")
def print_without_output(book):
    book.cells[SETUP]["outputs"] = []


@breaks("outputs_present", "no output is stored")
def bare_name_without_output(book):
    book.cells[LAST]["outputs"] = []


@breaks("no_errors", "ValueError: bad")
def stored_error(book):
    error = {"output_type": "error", "ename": "ValueError", "evalue": "bad", "traceback": ["ValueError: bad"]}
    book.cells[SUM]["outputs"] = [error]


@breaks("no_stderr", "FutureWarning")
def stored_warning(book):
    book.cells[SUM]["outputs"] = [printed("FutureWarning: soon\n", "stderr")]


@breaks("no_machine_paths", "/home" + "/ada/course")
def path_in_output(book):
    book.cells[SUM]["outputs"] = [printed("saved to /home" + "/ada/course/x.png")]


@breaks("no_machine_paths", "path of one machine")
def repository_in_output(book):
    book.cells[SUM]["outputs"] = [printed(f"read {repo_root()}/data")]


@breaks("no_machine_paths", "C:")
def path_in_source(book):
    book.cells[SUM]["source"] += "\n# see C:\\Users\\ada\\course"


@breaks("no_addresses", "0x7f3a2b1c9d50")
def address(book):
    book.cells[SUM]["outputs"] = [printed("<Line2D at 0x7f3a2b1c9d50>")]


@breaks("decimals", "3.14159")
def many_decimals(book):
    book.cells[LAST]["outputs"] = [printed("pi is 3.14159")]


@breaks("decimals", "0.12345")
def many_decimals_in_a_table(book):
    table = {"text/html": ["<td style='width:1.23456em'>", "0.12345</td>"]}
    book.cells[LAST]["outputs"] = [{"output_type": "execute_result", "data": table, "metadata": {}}]


@breaks("photo", "shows a real photograph")
def no_photo(book):
    del book.cells[PHOTO_AT]["metadata"]["tags"]


@breaks("photo", "stores no picture")
def photo_without_picture(book):
    book.cells[PHOTO_AT]["outputs"] = [printed("a cat")]


@breaks("alt_text", "use show_figure")
def no_alt(book):
    book.cells[PHOTO_AT]["outputs"][0]["metadata"] = {}


@breaks("alt_text", "begin the next cell")
def no_caption(book):
    edit(book.cells[CAPTION], "Figure", "Picture")


@breaks("alt_text", "![what is seen]")
def markdown_image_without_alt(book):
    edit(book.cells[IDEA], "## An idea", "## An idea\n![](cat.png)")


@breaks("plot_end", "a plotting cell ends in")
def plot_with_a_result(book):
    edit(book.cells[LINE], "\nplt.show()", "")


@breaks("slides", "slide type is None")
def no_slide_type(book):
    del book.cells[SUM]["metadata"]["slideshow"]


@breaks("slides", "slide type is 'page'")
def unknown_slide_type(book):
    book.cells[SUM]["metadata"]["slideshow"]["slide_type"] = "page"


@breaks("slides", "8006 to 8089")
def no_such_lecture_slide(book):
    book.cells[IDEA]["metadata"]["tags"] = ["lecture:9001"]


@breaks("slides", "on no slide itself")
def lecture_slide_skipped(book):
    book.cells[IDEA]["metadata"]["slideshow"]["slide_type"] = "skip"


@breaks("slides", "the title begins a slide")
def title_on_no_slide(book):
    book.cells[0]["metadata"]["slideshow"]["slide_type"] = "-"


@breaks("known_tags", "'exercize:01.area' means nothing")
def unknown_tag(book):
    book.cells[SUM]["metadata"]["tags"] = ["exercize:01.area"]


def number(book):
    """Give the code cells the execution counts of a run from top to bottom."""
    for n, (_, cell) in enumerate(book.code(), 1):
        cell["execution_count"] = n


def test_good_notebook_has_no_problem():
    assert [str(problem) for problem in contract.problems(good())] == []


@pytest.mark.parametrize(("rule_name", "change", "words"), MUTATIONS)
def test_bad_notebook_breaks_exactly_one_rule(rule_name, change, words):
    book = good()
    change(book)
    if rule_name != "executed":  # cells that were added or removed shift the counts, which is not their fault
        number(book)
    found = contract.problems(book)
    assert {problem.rule for problem in found} == {rule_name}, "\n".join(map(str, found))
    assert words in "\n".join(map(str, found))


def test_every_rule_has_a_bad_notebook():
    assert {mutation.values[0] for mutation in MUTATIONS} == set(RULES)


def test_a_notebook_file_is_read_as_it_is_stored(tmp_path):
    data = copy.deepcopy(good().data)
    for cell in data["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    path = tmp_path / "01_boxes_and_metrics.ipynb"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert contract.problems(contract.read(path)) == []
    path.write_text(path.read_text().replace("NotImplementedError", "KeyError"), encoding="utf-8")
    assert {problem.rule for problem in contract.problems(contract.read(path))} == {"synced"}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("three plain words", 3),
        ("a `code_here(x, y)` b", 3),
        ("see [the page](https://example.org/a/b/c) now", 4),
        ("sum $a + b + c$ here", 3),
        ("before\n```python\nx = 1\ny = 2\n```\nafter", 2),
        ("<b>bold</b> it's state-of-the-art", 3),
    ],
)
def test_words_are_counted_as_readers_count_them(text, count):
    assert contract.count_words(text) == count


def test_series_is_numbered_in_order_and_within_the_budget():
    assert [entry.number for entry in SERIES] == list(range(16))
    assert max(entry.minutes for entry in SERIES) <= 4
    assert sum(entry.minutes for entry in SERIES) <= 40
    assert following(SERIES[0]) is SERIES[1]
    assert following(SERIES[-1]) is None


def test_contributing_lists_every_tag():
    page = (repo_root() / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition("<!-- cell tags -->")[2]
    missing = [tag.name for tag in TAGS if f"| `{tag.name}` |" not in section]
    assert not missing, f"CONTRIBUTING.md lacks these tags in its table below <!-- cell tags -->: {missing}"
