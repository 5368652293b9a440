"""Sliders, predictions, bars, the budget and the stopwatch: live, and as they are stored."""

import sys

import matplotlib
import numpy as np
import pytest

from course_utils import timing
from course_utils.errors import CourseError
from course_utils.notebook.budget import Budget
from course_utils.notebook.exercises import predict
from course_utils.notebook.explore import explore, slider
from course_utils.progress import progress

matplotlib.use("Agg")


@pytest.fixture(params=["1", "0"], ids=["static", "live"])
def static(request, monkeypatch):
    monkeypatch.setenv("COURSE_STATIC", request.param)
    return request.param == "1"


@pytest.fixture
def displayed(monkeypatch):
    """What is handed to Jupyter for display."""
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    return shown


def draw(value, ax):
    ax.plot([0, 1], [0, value])
    drawn.append(value)


drawn = []


def test_explore_shows_the_sheet_and_only_live_a_slider(static, displayed):
    drawn.clear()
    explore(draw, "slope", values=range(9), static=[1, 5], alt="Lines of growing slope.")
    sheet = displayed[0]
    assert sheet._repr_mimebundle_()[1] == {"image/png": {"alt": "Lines of growing slope."}}
    assert drawn[:2] == [1, 5]
    assert len(displayed) == (1 if static else 2)
    assert len(drawn) == (2 if static else 3)


def test_static_sheet_is_the_same_each_time(monkeypatch, displayed):
    monkeypatch.setenv("COURSE_STATIC", "1")
    for _ in range(2):
        explore(draw, "slope", values=range(9), static=[1, 5], alt="Lines of growing slope.")
    assert displayed[0].data == displayed[1].data


def test_slider_redraws_when_it_moves():
    drawn.clear()
    widget = slider(draw, "slope", range(9), "Lines of growing slope.", (3, 2))
    control, screen = widget.children
    before = screen.value
    assert drawn == [4]
    control.value = 7
    assert drawn == [4, 7]
    assert screen.value != before
    assert "data:image/png;base64," in screen.value and "slope = " in screen.value
    control.value = 4
    assert screen.value == before


def test_slider_shows_photographs_as_jpeg():
    image = np.zeros((8, 8, 3), np.uint8)
    screen = slider(lambda v, ax: ax.imshow(image + v), "light", [0, 9], "A grey square.", (2, 2)).children[1]
    assert "data:image/jpeg;base64," in screen.value


def test_prediction_is_text_when_stored_and_buttons_when_live(static, displayed):
    predict("Which is larger, <a> or b?", ["a", "b"])
    (shown,) = displayed
    if static:
        assert repr(shown) == "Predict before you run: Which is larger, <a> or b?\n  ( ) a\n  ( ) b"
        assert "&lt;a&gt;" in shown._repr_html_()
    else:
        _, buttons, reply = shown.children
        assert buttons.value is None
        buttons.value = "b"
        assert "You predict: b" in reply.value


def test_progress_is_silent_when_stored(static, capsys):
    assert list(progress(range(3), "counting")) == [0, 1, 2]
    printed = "".join(capsys.readouterr())
    assert printed == "" if static else "counting" in printed


def test_budget_prints_no_seconds_when_stored(static, capsys):
    budget = Budget("02_hog_linear_svm")
    budget._start -= 30
    budget.report()
    first, last = capsys.readouterr().out.splitlines()
    assert first == "This notebook takes about 3 minutes on a laptop (one core, no GPU)."
    assert last == ("Budget of this notebook: 3 minutes." if static else "Used 30 s of 180 s.")


def test_budget_of_an_unknown_notebook():
    with pytest.raises(CourseError, match="no notebook '99_more'"):
        Budget("99_more")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until told to move, so that no test depends on a timing."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_measure_leaves_out_the_warm_up_and_takes_the_median(clock):
    durations = iter([50.0, 1.0, 9.0, 2.0])

    def work():
        clock.now += next(durations)

    result = timing.measure(work, repeats=3, warmup=1)
    assert result.seconds == (1.0, 9.0, 2.0)
    assert (result.median, result.best, result.spread) == (2.0, 1.0, 8.0)
    assert str(result) == "2 s (median of 3, spread 8 s)"
    assert str(timing.Timing((0.0012,))) == "1.2 ms (median of 1, spread 0 ms)"
    assert str(timing.Timing((3.4e-6,))) == "3.4 µs (median of 1, spread 0 µs)"


def test_measure_gives_equal_threads_and_restores_them():
    import torch
    from threadpoolctl import threadpool_info

    def pools():
        return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}

    torch.set_num_threads(2)
    before, seen = pools(), []
    assert before
    timing.measure(lambda: seen.append((torch.get_num_threads(), *pools().values())), repeats=2, warmup=0, threads=1)
    assert {number for row in seen for number in row} == {1}
    assert torch.get_num_threads() == 2
    assert pools() == before


def test_threads_are_restored_after_an_error():
    import torch

    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        timing.measure(lambda: 1 / 0)
    assert torch.get_num_threads() == 2


def test_timing_does_not_import_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    timing.measure(lambda: None, repeats=1)
    assert "torch" not in sys.modules


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"warmup": -1}, {"threads": 0}])
def test_measure_refuses_numbers_that_mean_nothing(wrong):
    with pytest.raises(ValueError, match="repeats >= 1, warmup >= 0, threads >= 1"):
        timing.measure(lambda: None, **wrong)


def test_stages_add_up(clock):
    stages = timing.Stages()
    for seconds in (1.0, 2.0):
        with stages("features"):
            clock.now += seconds
        with stages("scoring"):
            clock.now += 10 * seconds
    assert stages.seconds == {"features": 3.0, "scoring": 30.0}
    assert stages.total == 33.0


def test_a_stage_that_fails_is_timed_and_its_error_gets_out(clock):
    stages = timing.Stages()
    with pytest.raises(KeyError), stages("features"):
        clock.now += 4.0
        raise KeyError("x")
    assert stages.seconds == {"features": 4.0}
