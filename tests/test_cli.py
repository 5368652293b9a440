"""The console script: verbs, help, errors."""

import shlex
import subprocess
import sys

import pytest

from course_utils import cli
from course_utils.commands import run


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_shows_an_example_that_parses(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    example = capsys.readouterr().out.split("Example:\n")[1]
    lines = [shlex.split(line, comments=True) for line in example.splitlines() if line.strip()]
    assert lines and all(line[:2] == ["course", verb] for line in lines)
    for line in lines:
        assert cli.make_parser().parse_args(line[1:]).verb == verb


def test_help_lists_every_verb_and_loads_no_numerical_library():
    code = (
        "import sys\nfrom course_utils.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'nbformat'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for verb in cli.VERBS:
        assert f"\n    {verb}" in done.stdout


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "hog_svn"],
        ["evaluate", "hog_svn", "--json"],
        ["detect", "hog_svn", "x.jpg"],
        ["experiment", "hog_svn"],
    ],
)
def test_an_unknown_name_is_one_clear_error(argv, capsys):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("course: there is no") and "'hog_svn'" in err
    assert "Registered" in err


def test_no_verb_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 2
    assert "VERB" in capsys.readouterr().err


def test_ctrl_c_ends_in_one_line(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "main", interrupted)
    assert cli.main(["run"]) == 130
    assert capsys.readouterr().err.strip() == "course: stopped."
