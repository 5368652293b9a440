"""Every exercise rejects its stub, accepts its solution, and answers each planted mistake with its hint."""

import sys
import types

import exercise_samples
import pytest

from course_utils.errors import CourseError
from course_utils.notebook import exercises
from course_utils.notebook.exercises import NOT_TRIED, RIGHT, WRONG, Exercise, Mistake, grade

SAMPLES = {exercise.name: exercise for exercise in exercise_samples.EXERCISES}
REGISTERED = exercises.all_exercises()
CASES = [pytest.param(e, id=f"sample {e.name}") for e in SAMPLES.values()]
CASES += [pytest.param(e, id=e.name) for e in REGISTERED.values()]


@pytest.fixture
def sample_module(monkeypatch):
    """Make the samples the exercises of notebook 01."""
    module = types.ModuleType("course_utils.exercises.nb01")
    module.EXERCISES = exercise_samples.EXERCISES
    monkeypatch.setitem(sys.modules, module.__name__, module)


def answer_of(exercise: Exercise, source: str):
    """Run ``source`` as the notebook's cell would, below the question, and return what it defines."""
    space = {"__name__": "__main__"}
    exec(compile(exercise.setup, "setup", "exec"), space)
    exec(compile(f"# the question\n{source}", "cell", "exec"), space)
    return space[exercise.answer]


@pytest.mark.parametrize("exercise", CASES)
def test_stub_is_not_tried(exercise):
    assert grade(exercise, answer_of(exercise, exercise.stub)).state == NOT_TRIED


@pytest.mark.parametrize("exercise", CASES)
def test_solution_is_right(exercise):
    verdict = grade(exercise, answer_of(exercise, exercise.solution))
    assert verdict.state == RIGHT, verdict


@pytest.mark.parametrize("exercise", CASES)
def test_each_planted_mistake_meets_its_hint(exercise):
    assert len(exercise.mistakes) >= 2, "plant at least two plausible mistakes"
    for mistake in exercise.mistakes:
        verdict = grade(exercise, answer_of(exercise, mistake.source))
        assert verdict.state == WRONG, f"accepted:\n{mistake.source}"
        assert mistake.hint in repr(verdict), f"{verdict} lacks the hint {mistake.hint!r}"


@pytest.mark.parametrize("exercise", CASES)
def test_cell_shows_no_solution_and_calls_the_check(exercise):
    cell = exercises.cell_source(exercise)
    solution_lines = set(map(str.strip, exercise.solution.splitlines())) - set(
        map(str.strip, exercise.stub.splitlines())
    )
    assert not solution_lines & set(map(str.strip, cell.splitlines()))
    assert f'check("{exercise.name}", {exercise.answer})' in cell
    assert exercise.stub in cell
    assert max(map(len, cell.splitlines())) <= 110


def test_the_three_states_look_different():
    exercise = SAMPLES["01.conv_size"]
    shown = [repr(grade(exercise, value)) for value in (None, 14, 16)]
    assert shown == [
        "○ 01.conv_size: not tried yet",
        "✗ 01.conv_size: wrong. You forgot the padding.",
        "✓ 01.conv_size: right",
    ]
    assert "<div" in grade(exercise, 14)._repr_html_()
    assert "&lt;b&gt;" in exercises.Verdict(WRONG, "x", "<b>")._repr_html_()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("01.conv_size", "sixteen", "one number"),
        ("01.conv_size", [16, 16], "one number"),
        ("01.conv_size", 17, "Not this"),
        ("01.conv_size", float("nan"), "Not this"),
        ("01.background", 0, "one of the letters a, b, c"),
        ("01.background", "z", "one of the letters a, b, c"),
        ("01.log2", 0.30101, "base 10"),
        ("01.log2", 0.70, "Not this"),
    ],
)
def test_quiz_answers_of_the_wrong_form(name, value, words):
    verdict = grade(SAMPLES[name], value)
    assert verdict.state == WRONG
    assert words in repr(verdict)


@pytest.mark.parametrize(("name", "value"), [("01.log2", 0.6931), ("01.background", " A "), ("01.conv_size", "16")])
def test_quiz_is_generous_about_form(name, value):
    assert grade(SAMPLES[name], value).state == RIGHT


def test_half_done_function_is_not_tried_but_a_library_gap_is_wrong():
    exercise = SAMPLES["01.area"]
    half = answer_of(exercise, "def area(box):\n    width = box[2] - box[0]\n    raise NotImplementedError('height')")
    assert grade(exercise, half).state == NOT_TRIED

    exercise = Exercise(**{**vars(exercise), "setup": "import fractions\nfrom numbers import Number"})
    gap = answer_of(exercise, "import io\ndef area(box):\n    return Gap().area()\nfrom gap_in_a_library import Gap")
    verdict = grade(exercise, gap)
    assert verdict.state == WRONG
    assert "NotImplementedError" in repr(verdict)


@pytest.fixture(autouse=True)
def _library_with_a_gap(monkeypatch):
    module = types.ModuleType("gap_in_a_library")
    source = "class Gap:\n    def area(self):\n        raise NotImplementedError"
    exec(compile(source, "library", "exec"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_stub_with_another_comment_is_still_not_tried():
    exercise = SAMPLES["01.count_large"]
    commented = exercise.stub.replace("\n", "\n    # where is it?\n")
    assert grade(exercise, answer_of(exercise, commented)).state == NOT_TRIED
    changed = exercise.stub.replace("> threshold", "> threshold + 1")
    assert grade(exercise, answer_of(exercise, changed)).state == WRONG


def test_error_in_the_answer_is_one_line_with_its_place():
    exercise = SAMPLES["01.area"]
    broken = answer_of(exercise, "def area(box):\n    x = 1\n    return x / 0")
    text = repr(grade(exercise, broken))
    assert text == "✗ 01.area: wrong. It raises ZeroDivisionError in line 4 of the cell: division by zero"


def test_check_and_solution_by_name(sample_module, capsys):
    exercises.check("01.conv_size", 14)
    exercises.solution("01.conv_size")
    out = capsys.readouterr().out
    assert "You forgot the padding." in out
    assert "conv_size = 16" in out


def test_running_every_stub_cell_breaks_nothing(sample_module, capsys):
    for exercise in SAMPLES.values():
        space = {"check": exercises.check, "__name__": "__main__"}
        exec(compile(exercise.setup, "setup", "exec"), space)
        exec(compile(exercises.cell_source(exercise), "cell", "exec"), space)
    assert capsys.readouterr().out.count("not tried yet") == len(SAMPLES)


def test_unknown_exercise_names_those_there_are(sample_module):
    with pytest.raises(CourseError, match=r"no exercise '01\.nothing'.*01\.conv_size, 01\.background"):
        exercises.find("01.nothing")
    with pytest.raises(CourseError, match=r"no exercise '77\.x'.*none"):
        exercises.find("77.x")


def test_an_accepted_mistake_and_a_silent_hint_would_be_caught():
    """The three proofs above can fail: a check that accepts everything, and one without hints."""
    exercise = SAMPLES["01.area"]
    lenient = Exercise(**{**vars(exercise), "check": lambda area: None})
    with pytest.raises(AssertionError, match="accepted"):
        test_each_planted_mistake_meets_its_hint(lenient)
    mute = Exercise(**{**vars(exercise), "check": lambda area: "No."})
    with pytest.raises(AssertionError, match="lacks the hint"):
        test_each_planted_mistake_meets_its_hint(mute)
    with pytest.raises(AssertionError):
        test_solution_is_right(mute)
    alone = Exercise(**{**vars(exercise), "mistakes": (Mistake("area = 3", "callable"),)})
    with pytest.raises(AssertionError, match="at least two"):
        test_each_planted_mistake_meets_its_hint(alone)
