"""Would the tests notice? Each mistake of the tables, planted in a copy of the package, turns the named tests red."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import planted_dpm
import planted_localization
import planted_networks
import planted_overfeat
import planted_pose
import planted_ruler
import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "course_utils"
TABLES = {
    "ruler": planted_ruler.TABLE,
    "dpm": planted_dpm.TABLE,
    "networks": planted_networks.TABLE,
    "localization": planted_localization.TABLE,
    "pose": planted_pose.TABLE,
    "overfeat": planted_overfeat.TABLE,
}
ALL = [mutation for table in TABLES.values() for mutation in table]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """How the tests end, from the name of each mutation to a list of (test, outcome).

    A table's name stands for the package as it is. The runs of a table share one process, because PyTorch takes seconds
    to import; the tables run side by side.
    """
    runs = {}
    for name in TABLES:
        folder = tmp_path_factory.mktemp(name)
        shutil.copytree(PACKAGE, folder / "course_utils", ignore=shutil.ignore_patterns("__pycache__"))
        environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with (folder / "log.txt").open("w") as log:
            command = [sys.executable, __file__, name, folder]
            runs[folder] = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    found = {}
    for folder, run in runs.items():
        assert run.wait() == 0, (folder / "log.txt").read_text()[-3000:]
        found |= json.loads((folder / "outcomes.json").read_text())
    return found


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.breaks)
def test_text_stands_exactly_once(mutation):
    count = (PACKAGE / mutation.file).read_text().count(mutation.old)
    assert count == 1, f"the table is out of date: {mutation.old!r} stands {count} times in {mutation.file}"


def test_names_are_unique():
    assert len({mutation.breaks for mutation in ALL} | set(TABLES)) == len(ALL) + len(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_package_as_it_is_passes(outcomes, table):
    assert outcomes[table] and all(outcome == "passed" for _, outcome in outcomes[table])
    assert {test for test, _ in outcomes[table]} == {
        test for mutation in TABLES[table] for test in mutation.red.split()
    }


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.breaks)
def test_mistake_is_noticed(outcomes, mutation):
    green = set(mutation.red.split()) - {test for test, outcome in outcomes[mutation.breaks] if outcome == "failed"}
    assert not green, f"{mutation.new!r} for {mutation.old!r} in {mutation.file} was not noticed"


class Outcomes:
    """Plugin of pytest: name of each test and how it ended."""

    def __init__(self):
        self.seen = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.failed:
            self.seen.append((report.nodeid.rpartition("/")[2].partition("[")[0], report.outcome))


def run_tests(copy, names):
    """Run the tests on the package that stands in the folder ``copy``, imported anew."""
    ours = ("course_utils", "conftest", "metric_cases", "fhog_reference", "test_")
    for name in [name for name in sys.modules if name.startswith(ours)]:
        del sys.modules[name]
    importlib.invalidate_caches()
    plugin = Outcomes()
    # no explanations: of a large set they take minutes; and no plugin that collects garbage after each run
    quick = ["--assert=plain", "--tb=no", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
    arguments = ["-q", *quick, *(str(TESTS / name) for name in names)]
    code = pytest.main(arguments, plugins=[plugin])
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), f"pytest ended with {code!r}"
    modules = [name for name in sys.modules if name.startswith("course_utils")]
    assert modules and all(Path(sys.modules[name].__file__).is_relative_to(copy) for name in modules)
    return plugin.seen


def main(table, copy):
    from hypothesis import Phase, settings

    # the same examples every time, and no search for the smallest one
    settings.register_profile(
        "once", database=None, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False
    )
    settings.load_profile("once")
    mutations = TABLES[table]
    outcomes = {table: run_tests(copy, sorted({test for mutation in mutations for test in mutation.red.split()}))}
    for mutation in mutations:
        file = copy / "course_utils" / mutation.file
        source = file.read_text()
        file.write_text(source.replace(mutation.old, mutation.new))
        outcomes[mutation.breaks] = run_tests(copy, mutation.red.split())
        file.write_text(source)
    (copy / "outcomes.json").write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
