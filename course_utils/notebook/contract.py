"""What every notebook of the series promises: one function per rule, from a notebook to its problems.

The rules are in `RULES`, the cell tags in `TAGS`. `problems` applies all of them to one file;
``tests/test_notebook_contract.py`` does so for the whole series and shows that each rule can fail.
"""

import ast
import builtins
import re
import symtable
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from course_utils.errors import CourseError
from course_utils.notebook.exercises import find
from course_utils.notebook.series import SERIES, Notebook, following
from course_utils.notebook.sync import EXERCISE_PREFIX, SYNC_PREFIX, expected_source, joined, read_notebook, tags
from course_utils.paths import repo_root


class Tag(NamedTuple):
    """A cell tag: a name, or a pattern whose changing part is in angle brackets."""

    name: str
    where: str
    does: str

    def matches(self, tag: str) -> bool:
        start, bracket, _ = self.name.partition("<")
        return tag.startswith(start) and len(tag) > len(start) if bracket else tag == self.name


TAGS = (
    Tag("open-problem", "markdown, among the first three cells", "says what the previous notebook left open"),
    Tag("goals", "markdown, among the first three cells", "“You will” in three bullets, and the minutes"),
    Tag("closing", "the last markdown cell", "answers the three bullets; names the caveat and the next notebook"),
    Tag("photo", "code", "shows at least one real photograph"),
    Tag("check", "code", "asserts what has just been built"),
    Tag(
        "course_utils.<name>",
        "code",
        "synced cell: holds the source of that function or class; `course sync` writes it",
    ),
    Tag("exercise:<name>", "code", "holds the stub of that exercise and calls its check; `course sync` writes it"),
    Tag("find-the-bug", "code, beside `exercise:`", "the exercise whose stub is a working pipeline with a bug in it"),
    Tag("predict", "code", "calls `predict`: readers commit themselves before they run the next cell"),
    Tag("solution", "any", "gives a solution away; student versions leave the cell out"),
    Tag("instructor", "any", "note for who teaches; only instructors' versions have the cell"),
    Tag("hide-input", "code", "pages and slides fold the code away and show the output alone"),
    Tag("lecture:<number>", "any cell on a slide", "the lecture slide (8006 to 8089) that the cell answers"),
    Tag("nbval-check-output", "code", "nbval compares the stored output, so it must be the same everywhere"),
    Tag("nbval-ignore-output", "code", "nbval runs the cell and does not look at its output"),
)
"""Every tag that a cell may carry; CONTRIBUTING.md lists the same."""

SLIDE_TYPES = ("slide", "subslide", "fragment", "skip", "notes", "-")
LECTURE_SLIDES = range(8006, 8090)
CELLS = (30, 60)
WORDS = (1200, 2500)
CODE_LINES, CELL_LINES, SYNCED_LINES = 250, 25, 40
EXERCISES = (3, 5)
ASSERT_CELLS, ASSERT_WITHIN = 3, 6
BYTES = 1_500_000
DECIMALS = 3

_SHOWS = {"print", "show_figure", "display", "check", "solution", "predict", "explore", "report", "Budget"}
_PLOT_ENDS = {"show", "show_figure", "explore"}
_PATH = re.compile(
    r"(?<![\w.:/<])/(?:home|Users|root|tmp|mnt|opt|usr|var|private|media|srv|work|workspace|scratch)/\w[\w./-]*"
    r"|(?<!\w)[A-Z]:\\\w[\w.\\-]*|ipykernel_\d+"
)
_DOWNLOAD = re.compile(r"git clone|\bwget\b|\bcurl\b|urlretrieve|pip install|!\[[^\]]*\]\(https?:|src=[\"']?https?:")


@dataclass
class Book:
    """A notebook as the rules see it; ``cells`` are its JSON cells with every source as one string."""

    path: Path
    data: dict
    bytes: int

    @property
    def cells(self) -> list[dict]:
        return self.data["cells"]

    @property
    def entry(self) -> Notebook | None:
        """This notebook's line in the series, None if it has none."""
        return next((entry for entry in SERIES if entry.name == self.path.stem), None)

    def code(self) -> Iterator[tuple[int, dict]]:
        return ((n, cell) for n, cell in enumerate(self.cells) if cell["cell_type"] == "code")

    def markdown(self) -> Iterator[tuple[int, dict]]:
        return ((n, cell) for n, cell in enumerate(self.cells) if cell["cell_type"] == "markdown")

    def tagged(self, tag: str) -> list[int]:
        """Numbers of the cells that carry ``tag``."""
        return [n for n, cell in enumerate(self.cells) if tag in tags(cell)]


class Problem(NamedTuple):
    """What is wrong, in which cell (None: the notebook as a whole), and what is expected."""

    rule: str
    cell: int | None
    text: str

    def __str__(self) -> str:
        return f"{self.rule}, {'notebook' if self.cell is None else f'cell {self.cell}'}: {self.text}"


Found = Iterator[tuple[int | None, str]]
Rule = Callable[[Book], Found]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Enter ``function`` in `RULES` under its own name."""
    RULES[function.__name__] = function
    return function


def read(path: Path) -> Book:
    """Read the notebook file ``path`` for the rules."""
    return Book(path, read_notebook(path), path.stat().st_size)


def problems(book: Book) -> list[Problem]:
    """Every breach of every rule, in the order of `RULES`."""
    return [Problem(name, cell, text) for name, check in RULES.items() for cell, text in check(book)]


# The file


@rule
def file_name(book: Book) -> Found:
    if book.entry is None:
        yield None, f"{book.path.name} is not in the series (course_utils/notebook/series.py); rename it or add it."


@rule
def cell_ids(book: Book) -> Found:
    if (book.data.get("nbformat"), book.data.get("nbformat_minor", 0)) < (4, 5):
        yield None, "cells have ids from format 4.5 on; open and save it in JupyterLab."
        return
    seen = set()
    for n, cell in enumerate(book.cells):
        if not cell.get("id") or cell["id"] in seen:
            yield n, f"the id {cell.get('id')!r} is missing or used twice; give the cell one of its own."
        seen.add(cell.get("id"))


@rule
def kernel(book: Book) -> Found:
    spec = book.data["metadata"].get("kernelspec", {})
    if (spec.get("name"), spec.get("language")) != ("python3", "python"):
        yield None, f"the kernel is {spec.get('name')!r}; it must be python3, which every installation has."


@rule
def no_widgets(book: Book) -> Found:
    if "widgets" in book.data["metadata"]:
        yield None, "it stores widget state, which changes with each run; execute it with COURSE_STATIC=1."
    for n, cell in book.code():
        if any("widget" in mime for output in cell["outputs"] for mime in output.get("data", {})):
            yield n, "it stores a widget; execute it with COURSE_STATIC=1."


@rule
def weight(book: Book) -> Found:
    if book.bytes > BYTES:
        yield None, f"it weighs {book.bytes / 1e6:.2f} MB; at most {BYTES / 1e6} MB, so store photographs as JPEG."


# Its shape


@rule
def title(book: Book) -> Found:
    if book.entry is None:
        return
    first = book.cells[0]
    if first["cell_type"] != "markdown" or first["source"].split("\n")[0].strip() != book.entry.heading:
        yield 0, f"the first line must be {book.entry.heading!r}, as in the series."
    for n, cell in book.markdown():
        if n and re.search(r"^# ", _without_fences(cell["source"]), re.MULTILINE):
            yield n, "only the title is a heading of the first level; use ##."


@rule
def open_problem(book: Book) -> Found:
    places = book.tagged("open-problem")
    if len(places) != 1 or places[0] > 2 or book.cells[places[0]]["cell_type"] != "markdown":
        yield None, "one markdown cell among the first three, tagged open-problem, says what was left open."


@rule
def goals(book: Book) -> Found:
    places = book.tagged("goals")
    if len(places) != 1 or places[0] > 2 or book.cells[places[0]]["cell_type"] != "markdown":
        yield None, "one markdown cell among the first three is tagged goals."
        return
    text = book.cells[places[0]]["source"]
    if "you will" not in text.lower() or _bullets(text) != 3:
        yield places[0], f"it says “You will” in three bullets; this one has {_bullets(text)}."


@rule
def minutes(book: Book) -> Found:
    if book.entry is None:
        return
    expected = f"{book.entry.minutes} minute" + ("s" if book.entry.minutes > 1 else "")
    opening = "\n".join(cell["source"] for cell in book.cells[:3] if cell["cell_type"] == "markdown")
    if not re.search(rf"\b{expected}\b", opening):
        yield None, f"the opening cells must say how long it takes, as in the series: {expected!r}."


@rule
def closing(book: Book) -> Found:
    places, last = book.tagged("closing"), max((n for n, _ in book.markdown()), default=None)
    if places != [last]:
        yield None, "the last markdown cell, and no other, is tagged closing."
        return
    text = book.cells[last]["source"]
    if _bullets(text) != 3:
        yield last, f"it answers the three bullets of the goals in three bullets; this one has {_bullets(text)}."
    then = following(book.entry) if book.entry else None
    if then and then.name not in text:
        yield last, f"its caveat opens the next notebook and names it: {then.name}."


@rule
def cell_count(book: Book) -> Found:
    if not CELLS[0] <= len(book.cells) <= CELLS[1]:
        yield None, f"it has {len(book.cells)} cells; {CELLS[0]} to {CELLS[1]} are wanted."


@rule
def words(book: Book) -> Found:
    count = sum(count_words(cell["source"]) for _, cell in book.markdown())
    if not WORDS[0] <= count <= WORDS[1]:
        yield None, f"it has {count:,} words of prose; {WORDS[0]:,} to {WORDS[1]:,} are wanted."


@rule
def code_lines(book: Book) -> Found:
    count = sum(len(_statements(cell["source"])) for _, cell in book.code())
    if count > CODE_LINES:
        yield None, f"it has {count} lines of code without comments and docstrings; at most {CODE_LINES}."


@rule
def cell_lines(book: Book) -> Found:
    for n, cell in book.code():
        allowed = SYNCED_LINES if _is_synced(cell) else CELL_LINES
        count = len(cell["source"].splitlines()) - len(_docstring_lines(cell["source"]))
        if count > allowed:
            yield n, f"it has {count} lines without docstrings; at most {allowed}, so that it fits a slide."


# Its code


@rule
def synced(book: Book) -> Found:
    for n, cell in book.code():
        try:
            expected = expected_source(cell)
        except CourseError as error:
            yield n, str(error)
            continue
        if expected is not None and cell["source"] != expected:
            yield n, "it differs from the package; edit the package, then run `course sync`."


@rule
def names(book: Book) -> Found:
    known = {*dir(builtins), "display", "get_ipython", "__name__"}
    for n, cell in book.code():
        try:
            table = symtable.symtable(_python(cell["source"]), f"cell {n}", "exec")
        except SyntaxError as error:
            yield n, f"it is not Python: {error.msg}, line {error.lineno}."
            continue
        known |= {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
        missing = sorted(set(_global_names(table)) - known)
        if missing:
            yield n, f"{', '.join(missing)} is defined neither here nor before; import it in the first code cell."


@rule
def exercises(book: Book) -> Found:
    kinds = []
    for n, cell in book.code():
        if "solution" in _called(cell["source"]) and "solution" not in tags(cell):
            yield n, "it prints a solution for everybody; leave the call to the student."
    tagged = [(n, tag) for n, cell in book.code() for tag in tags(cell) if tag.startswith(EXERCISE_PREFIX)]
    if tagged and not any(re.search(r"import .*\bsolution\b", cell["source"]) for _, cell in book.code()):
        yield None, "no cell imports solution, which the line under every exercise offers."
    for n, tag in tagged:
        name = tag.removeprefix(EXERCISE_PREFIX)
        if name[:2] != book.path.stem[:2]:
            yield n, f"{tag} belongs to another notebook."
        try:
            kinds.append(find(name).kind)
        except CourseError:
            continue  # rule `synced` reports it
        if (kinds[-1] == "find-the-bug") != ("find-the-bug" in tags(book.cells[n])):
            yield n, "the tag find-the-bug stands on exactly the exercise of that kind."
    if not EXERCISES[0] <= kinds.count("exercise") <= EXERCISES[1]:
        yield None, f"it has {kinds.count('exercise')} exercises; {EXERCISES[0]} to {EXERCISES[1]} are wanted."
    if kinds.count("find-the-bug") != 1:
        yield None, f"it has {kinds.count('find-the-bug')} exercises of the kind find-the-bug; one is wanted."


@rule
def prediction(book: Book) -> Found:
    places = book.tagged("predict")
    if not places:
        yield None, "one cell, tagged predict, asks for a prediction before the next cell is run."
    for n in places:
        if "predict" not in _called(book.cells[n]["source"]):
            yield n, "it is tagged predict but does not call predict(question, options)."


@rule
def checks(book: Book) -> Found:
    asserting = [n for n, cell in book.code() if re.search(r"^\s*assert\b", cell["source"], re.MULTILINE)]
    if len(asserting) < ASSERT_CELLS:
        yield None, f"{len(asserting)} cells assert something; at least {ASSERT_CELLS}, one after each thing built."
    for n in sorted(set(book.tagged("check")) - set(asserting)):
        yield n, "it is tagged check but asserts nothing."
    for n, cell in book.code():
        if _is_synced(cell) and not any(n < m <= n + ASSERT_WITHIN for m in asserting):
            yield n, f"nothing in the next {ASSERT_WITHIN} cells asserts that what it builds is right."


@rule
def budget(book: Book) -> Found:
    code = [cell["source"] for _, cell in book.code()]
    start = next((n for n, source in enumerate(code) if f'Budget("{book.path.stem}")' in source), None)
    if start is None:
        yield None, f'an early code cell says budget = Budget("{book.path.stem}").'
    elif not any("budget.report()" in source for source in code[start:]):
        yield None, "the last code cell says budget.report()."


@rule
def no_downloads(book: Book) -> Found:
    for n, cell in enumerate(book.cells):
        if found := _DOWNLOAD.search(cell["source"]):
            yield n, f"{found[0]!r}: the course works without network; ship it or make it on first use."


# Its outputs


@rule
def executed(book: Book) -> Found:
    for count, (n, cell) in enumerate(book.code(), 1):
        if not cell["source"].strip():
            yield n, "it is empty; delete it."
        if cell["execution_count"] != count:
            yield n, f"its execution count is {cell['execution_count']}, not {count}; run all cells anew."


@rule
def outputs_present(book: Book) -> Found:
    for n, cell in book.code():
        if not cell["outputs"] and _should_show(cell["source"]):
            yield n, "it shows something when run, but no output is stored; run the whole notebook anew."


@rule
def no_errors(book: Book) -> Found:
    for n, cell in book.code():
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                yield n, f"it stores an error, {output['ename']}: {output['evalue']}."


@rule
def no_stderr(book: Book) -> Found:
    for n, cell in book.code():
        for output in cell["outputs"]:
            if output.get("name") == "stderr":
                yield n, f"it stores a warning or a progress bar: {joined(output['text'])[:80]!r}."


@rule
def no_machine_paths(book: Book) -> Found:
    for n, cell in enumerate(book.cells):
        for text in [cell["source"], *_texts(cell)]:
            found = re.search(re.escape(str(repo_root())), text) or _PATH.search(text)
            if found:
                yield n, f"{found[0]!r} is a path of one machine; show paths relative to the repository."


@rule
def no_addresses(book: Book) -> Found:
    for n, cell in book.code():
        for text in _texts(cell):
            if found := re.search(r"\b0x[0-9a-fA-F]{6,}", text):
                yield n, f"{found[0]} is a memory address, another one in each run; end the cell with `;`."


@rule
def decimals(book: Book) -> Found:
    for n, cell in book.code():
        for text in _texts(cell):
            if found := re.search(rf"(?<![\w.])-?\d+\.\d{{{DECIMALS + 1},}}", text):
                yield n, f"{found[0]} has too many decimals; at most {DECIMALS} (2 for what training yields)."


@rule
def photo(book: Book) -> Found:
    places = book.tagged("photo")
    if not places:
        yield None, "one code cell, tagged photo, shows a real photograph."
    for n in places:
        if not _images(book.cells[n]):
            yield n, "it is tagged photo but stores no picture."


@rule
def alt_text(book: Book) -> Found:
    for n, cell in book.code():
        after = book.cells[n + 1] if n + 1 < len(book.cells) else {"cell_type": "", "source": ""}
        if after["cell_type"] == "markdown" and re.match(r"[*_]*Figure\b", after["source"]):
            continue
        for output, mime in _images(cell):
            if not output.get("metadata", {}).get(mime, {}).get("alt", "").strip():
                yield n, "its picture has no alt text; use show_figure, or begin the next cell with “Figure”."
    for n, cell in book.markdown():
        if "![](" in cell["source"] or re.search(r"<img(?![^>]*\balt=)", cell["source"]):
            yield n, "its picture has no alt text: ![what is seen](file)."


@rule
def plot_end(book: Book) -> Found:
    for n, cell in book.code():
        if _images(cell) and not _ends_quietly(cell["source"]):
            yield n, "a plotting cell ends in show_figure(fig, alt), plt.show(), explore(...) or `;`."


# Its slides and tags


@rule
def slides(book: Book) -> Found:
    for n, cell in enumerate(book.cells):
        kind = cell["metadata"].get("slideshow", {}).get("slide_type")
        if kind not in SLIDE_TYPES:
            yield n, f"its slide type is {kind!r}; it must be one of {', '.join(SLIDE_TYPES)}."
        for tag in tags(cell):
            if tag.startswith("lecture:"):
                number = tag.removeprefix("lecture:")
                if not number.isdigit() or int(number) not in LECTURE_SLIDES:
                    yield n, f"{tag}: lecture slides are numbered {LECTURE_SLIDES[0]} to {LECTURE_SLIDES[-1]}."
                if kind in ("skip", "notes"):
                    yield n, f"{tag}: the cell answers a lecture slide but is on no slide itself."
    if book.cells[0]["metadata"].get("slideshow", {}).get("slide_type") in SLIDE_TYPES[1:]:
        yield 0, "the title begins a slide."


@rule
def known_tags(book: Book) -> Found:
    for n, cell in enumerate(book.cells):
        for tag in tags(cell):
            if not any(known.matches(tag) for known in TAGS):
                yield n, f"the tag {tag!r} means nothing; CONTRIBUTING.md lists the tags."


# What the rules need


def _is_synced(cell: dict) -> bool:
    return any(tag.startswith(SYNC_PREFIX) for tag in tags(cell))


def count_words(markdown: str) -> int:
    """Words of prose: no code, no formulas, no addresses, no markup."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]+`", " x ", _without_fences(markdown), flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|<[^>]+>", " ", text)
    return len(re.findall(r"\w[\w'’-]*", text))


def _without_fences(markdown: str) -> str:
    return re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)


def _bullets(markdown: str) -> int:
    return len(re.findall(r"^(?:[-*+]|\d\.) ", markdown, re.MULTILINE))


def _python(source: str) -> str:
    """The source with IPython's own lines (magics, shell commands) blanked."""
    return "\n".join("" if re.match(r"\s*[%!?]", line) else line for line in source.split("\n"))


def _tree(source: str) -> ast.Module:
    """The parsed cell; an empty module where rule `names` has already said that it is no Python."""
    try:
        return ast.parse(_python(source))
    except SyntaxError:
        return ast.Module([], [])


def _docstring_lines(source: str) -> set[int]:
    lines = set()
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            lines |= set(range(text.lineno, text.end_lineno + 1))
    return lines


def _statements(source: str) -> list[str]:
    """Lines of code: neither blank, nor comment, nor docstring."""
    skip = _docstring_lines(source)
    lines = ((n, line.strip()) for n, line in enumerate(source.splitlines(), 1))
    return [line for n, line in lines if line and not line.startswith("#") and n not in skip]


def _global_names(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that the cell and the functions in it look up in the notebook."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_names(child)


def _call_name(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    return getattr(node.func, "attr", getattr(node.func, "id", None))


def _called(source: str) -> set[str]:
    """Names of what the cell calls when it runs, leaving out the bodies of the functions that it defines."""
    found, open_nodes = set(), list(_tree(source).body)
    while open_nodes:
        node = open_nodes.pop()
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            found.add(_call_name(node))
            open_nodes.extend(ast.iter_child_nodes(node))
    return found - {None}


def _should_show(source: str) -> bool:
    body = _tree(source).body
    if not body:
        return False
    last = body[-1]
    bare = isinstance(last, ast.Expr) and isinstance(last.value, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp)
    # plots.show draws into axes; only pyplot's show puts something out.
    shows = bool(_called(source) & _SHOWS) or "plt.show()" in source
    return shows or (bare and not source.rstrip().endswith(";"))


def _ends_quietly(source: str) -> bool:
    body = _tree(source).body
    if not body or source.rstrip().endswith(";"):
        return True
    last = body[-1]
    return not isinstance(last, ast.Expr) or _call_name(last.value) in _PLOT_ENDS


def _images(cell: dict) -> list[tuple[dict, str]]:
    """The pictures among a cell's outputs, each with its media type."""
    return [
        (output, mime)
        for output in cell.get("outputs", [])
        for mime in output.get("data", {})
        if mime.startswith("image/")
    ]


def _texts(cell: dict) -> list[str]:
    """Everything that a cell's outputs say in words; of HTML what stands outside the markup."""
    found = []
    for output in cell.get("outputs", []):
        found.append(joined(output.get("text", "")))
        for mime, content in output.get("data", {}).items():
            if mime == "text/html":
                found.append(re.sub(r"<[^>]*>", " ", joined(content)))
            elif mime.startswith("text/"):
                found.append(joined(content))
        found.append("\n".join(output.get("traceback", [])))
    return found
