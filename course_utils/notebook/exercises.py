"""Exercises with an instant check: not tried yet, wrong (with a hint), right; the solution on demand.

An exercise is registered in the tuple ``EXERCISES`` of ``course_utils/exercises/nbNN.py``. Its notebook cell
is tagged ``exercise:NAME`` and holds what `cell_source` returns; ``course sync`` writes it, so that no
notebook contains a solution. In the cell the student edits the stub; the last line calls `check`.

Nothing here raises because of what a student wrote: a cell that calls `check` lets restart-and-run-all go on.
"""

import importlib
import inspect
import pkgutil
import textwrap
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from course_utils.errors import CourseError
from course_utils.progress import static_mode

NOT_TRIED, WRONG, RIGHT = "not tried yet", "wrong", "right"
_FACES = {
    NOT_TRIED: ("○", "#555555", "#F2F2F2"),
    WRONG: ("✗", "#8A3000", "#FBE9DF"),
    RIGHT: ("✓", "#00543C", "#E0F3EC"),
}


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong answer: what a student might type, and words of the hint that must follow."""

    source: str
    hint: str


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes
    ----------
    name : str
        ``"NN.answer"``: the notebook's number, and the variable, function or class to fill in.
    question : str
        What is asked; it stands as a comment on top of the cell.
    stub : str
        Source the student starts from. It defines the answer: a function that raises ``NotImplementedError``,
        ``answer = None``, or, to find a bug, a pipeline that runs and is wrong.
    solution : str
        Source that is right; what `solution` prints.
    check : callable
        Called with the answer; returns None if it is right, else one sentence that points at the mistake.
        Whatever the answer itself raises is reported as wrong.
    mistakes : tuple of Mistake
        At least two; the tests prove that each is rejected with its hint.
    setup : str
        Source of the imports that the notebook has made before the cell (used by the tests only).
    kind : {"exercise", "quiz", "find-the-bug"}
        What the contract counts it as.
    """

    name: str
    question: str
    stub: str
    solution: str
    check: Callable[[Any], str | None]
    mistakes: tuple[Mistake, ...]
    setup: str = ""
    kind: str = "exercise"

    def __post_init__(self):
        for part in ("stub", "solution", "setup"):
            object.__setattr__(self, part, textwrap.dedent(getattr(self, part)).strip("\n"))

    @property
    def answer(self) -> str:
        """Name of the variable, function or class that the student fills in."""
        return self.name.partition(".")[2]


def quiz(
    name: str,
    question: str,
    right: float | str,
    because: str,
    wrong: Mapping[float | str, str],
    tolerance: float = 0.0,
    options: Mapping[str, str] | None = None,
) -> Exercise:
    """A question answered by a number, or by the letter of one of ``options`` where ``right`` is a letter.

    ``because`` explains the solution in one sentence. ``wrong`` maps plausible wrong values to the hint that
    each deserves; any other value is told only that it is not right. Numbers match within ``tolerance``.
    """
    variable = name.partition(".")[2]
    if options:
        question += "\n" + "\n".join(f'"{letter}": {text}' for letter, text in options.items())

    def same(value, expected) -> bool:
        return value == expected if options else abs(value - expected) <= tolerance

    def check_value(value) -> str | None:
        if options:
            value = value.strip().lower() if isinstance(value, str) else value
            if value not in tuple(options):
                return f"The answer is one of the letters {', '.join(options)}, in quotes."
        else:
            try:
                value = float(value)
            except (TypeError, ValueError):
                return f"The answer is one number, not {type(value).__name__} {value!r}."
        if same(value, right):
            return None
        return next((hint for expected, hint in wrong.items() if same(value, expected)), "Not this; try once more.")

    return Exercise(
        name=name,
        question=question,
        stub=f"{variable} = None",
        solution=f"{variable} = {right!r}\n{_comment(because)}",
        check=check_value,
        mistakes=tuple(Mistake(f"{variable} = {value!r}", hint) for value, hint in wrong.items()),
        kind="quiz",
    )


def all_exercises() -> dict[str, Exercise]:
    """Every registered exercise by name, in the order of the notebooks."""
    import course_utils.exercises as folder

    found = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(folder.__path__)):
        for exercise in importlib.import_module(f"course_utils.exercises.{module}").EXERCISES:
            if exercise.name in found:
                raise CourseError(f"Two exercises are called {exercise.name!r}; rename the one in {module}.py.")
            found[exercise.name] = exercise
    return found


def find(name: str) -> Exercise:
    """The exercise called ``name``; only its own notebook's module is imported."""
    module = f"nb{name.partition('.')[0]}"
    try:
        exercises = importlib.import_module(f"course_utils.exercises.{module}").EXERCISES
    except ModuleNotFoundError as error:
        if error.name != f"course_utils.exercises.{module}":
            raise
        exercises = ()
    for exercise in exercises:
        if exercise.name == name:
            return exercise
    known = ", ".join(exercise.name for exercise in exercises) or "none"
    raise CourseError(f"There is no exercise {name!r}. Exercises of this notebook: {known}.")


def cell_source(*exercises: Exercise) -> str:
    """Text of the notebook cell of one exercise, or of several short ones: question, stub, check."""
    blocks = []
    for exercise in exercises:
        gap = "\n\n" if "\n" in exercise.stub else ""
        blocks.append(
            f"{_comment(exercise.question)}\n{exercise.stub}\n{gap}"
            f'check("{exercise.name}", {exercise.answer})  # stuck? solution("{exercise.name}")'
        )
    return "\n\n".join(blocks)


def _comment(text: str) -> str:
    """``text`` as comment lines; its own line breaks stay."""
    return "\n".join(
        textwrap.fill(line, 84, initial_indent="# ", subsequent_indent="# ") or "#" for line in text.splitlines()
    )


class Verdict:
    """The answer to an attempt: a state and one line of text; Jupyter shows it on a coloured ground."""

    def __init__(self, state: str, name: str, hint: str = ""):
        self.state, self.name, self.hint = state, name, hint

    def __repr__(self) -> str:
        sign = _FACES[self.state][0]
        return f"{sign} {self.name}: {self.state}" + (f". {self.hint}" if self.hint else "")

    def _repr_html_(self) -> str:
        _, ink, ground = _FACES[self.state]
        style = f"color:{ink};background:{ground};border-left:4px solid {ink};padding:4px 10px"
        return f'<div style="{style}">{escape(repr(self))}</div>'


def check(name: str, answer: Any) -> None:
    """Show the verdict on the student's ``answer`` to exercise ``name``. The last line of its cell."""
    from IPython.display import display

    display(grade(find(name), answer))


def grade(exercise: Exercise, answer: Any) -> Verdict:
    """The verdict on ``answer``; nothing that the answer raises gets out."""
    if answer is None or answer is ... or _is_stub(exercise, answer):
        return Verdict(NOT_TRIED, exercise.name)
    try:
        hint = exercise.check(answer)
    except Exception as error:  # a student's code may raise anything; it becomes the hint, never a silent pass
        steps = traceback.extract_tb(error.__traceback__)
        own = _code_of(answer)
        mine = [step for step in steps if own is not None and step.filename == own.co_filename]
        if isinstance(error, NotImplementedError) and mine and mine[-1] is steps[-1]:
            return Verdict(NOT_TRIED, exercise.name)
        line = f" in line {mine[-1].lineno} of the cell" if mine else ""
        words = " ".join(str(error).split()) or "no message"
        return Verdict(WRONG, exercise.name, f"It raises {type(error).__name__}{line}: {words}")
    return Verdict(RIGHT, exercise.name) if hint is None else Verdict(WRONG, exercise.name, hint)


def solution(name: str) -> None:
    """Print the solution of exercise ``name``."""
    print(find(name).solution)


def _code_of(answer: Any) -> types.CodeType | None:
    """Compiled code of a function, or of the first method of a class or object."""
    answer = inspect.unwrap(answer) if callable(answer) else answer
    if isinstance(answer, types.FunctionType):
        return answer.__code__
    kind = answer if isinstance(answer, type) else type(answer)
    members = vars(kind).values() if kind.__module__ == "__main__" else ()  # a library's class is not the student's
    return next((member.__code__ for member in members if isinstance(member, types.FunctionType)), None)


def _is_stub(exercise: Exercise, answer: Any) -> bool:
    """Whether ``answer`` is a function or class left as the stub has it (comments and line numbers aside)."""
    for code in compile(exercise.stub, "stub", "exec").co_consts:
        if not (isinstance(code, types.CodeType) and code.co_name == exercise.answer):
            continue
        if isinstance(answer, types.FunctionType):
            return _skeleton(answer.__code__) == _skeleton(code)
        if isinstance(answer, type):
            methods = [m.__code__ for m in vars(answer).values() if isinstance(m, types.FunctionType)]
            stubs = [c for c in code.co_consts if isinstance(c, types.CodeType)]
            return list(map(_skeleton, methods)) == list(map(_skeleton, stubs))
    return False


def _skeleton(code: types.CodeType) -> tuple:
    """Everything that makes a compiled function do what it does."""
    constants = tuple(_skeleton(c) if isinstance(c, types.CodeType) else (type(c), c) for c in code.co_consts)
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars


class _Prediction:
    """A question with its options as text, for pages, stored outputs and plain terminals."""

    def __init__(self, question: str, options: Sequence[str]):
        self.question, self.options = question, options

    def __repr__(self) -> str:
        return "\n".join([f"Predict before you run: {self.question}", *(f"  ( ) {text}" for text in self.options)])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(option)}</li>" for option in self.options)
        return f"<p><b>Predict before you run:</b> {escape(self.question)}</p><ul>{items}</ul>"


def predict(question: str, options: Sequence[str]) -> None:
    """Ask for a prediction before the next cell is run; it is not judged, the next cell shows what happens.

    Live, the options are buttons; with ``COURSE_STATIC=1`` they are text.
    """
    from IPython.display import display

    if static_mode():
        display(_Prediction(question, options))
        return
    import ipywidgets as widgets

    buttons = widgets.ToggleButtons(options=list(options), value=None)
    reply = widgets.Label()

    def chosen(change) -> None:
        reply.value = f"You predict: {change['new']}. Now run the next cell."

    buttons.observe(chosen, names="value")
    display(widgets.VBox([widgets.HTML(f"<b>Predict before you run:</b> {escape(question)}"), buttons, reply]))
