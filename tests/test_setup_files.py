"""The files that set the course up agree with each other and are free of this or that machine."""

import re
import subprocess
import tomllib

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_utils.notebook.series import SERIES
from course_utils.paths import repo_root

ROOT = repo_root()
# Where conda-forge has another name than PyPI.
CONDA_NAMES = {"torch": "pytorch", "playwright": "playwright-python", "opencv-contrib-python-headless": "opencv"}
PLATFORMS = [
    {**default_environment(), "sys_platform": system, "os_name": name, "platform_machine": machine}
    | {"python_version": python, "python_full_version": f"{python}.{patch}"}
    for system, name, machine in [
        ("linux", "posix", "x86_64"),
        ("darwin", "posix", "arm64"),
        ("win32", "nt", "AMD64"),
    ]
    for python, patch in [("3.11", "7"), ("3.12", "1"), ("3.13", "0")]
]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def wanted() -> list[Requirement]:
    """Every requirement of pyproject.toml, extras included."""
    extras = project()["optional-dependencies"].values()
    return [Requirement(line) for line in sum(extras, project()["dependencies"])]


def pins() -> list[Requirement]:
    return [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]


def test_conda_environment_names_the_same_packages_and_bounds():
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = {r.name: r.specifier for r in map(Requirement, lines)}
    assert len(conda) == len(lines)
    assert conda.pop("python") == project()["requires-python"]
    conda.pop("pip")
    assert conda == {CONDA_NAMES.get(r.name, r.name): r.specifier for r in wanted()}


def test_conda_environment_gives_a_reason_for_each_package():
    lines = (ROOT / "environment.yml").read_text().split("dependencies:")[1].splitlines()
    packages = [line for line in lines if line.startswith("  - ") and "python>" not in line]
    assert packages and [line for line in packages if not re.search(r"# \w", line)] == []


def test_constraints_name_no_host():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text and "@" not in text and "--" not in text


@pytest.mark.parametrize("where", PLATFORMS, ids=lambda w: f"{w['sys_platform']}-{w['python_version']}")
def test_every_requirement_has_one_pin_that_satisfies_it(where):
    pinned = {}
    for pin in pins():
        assert [s.operator for s in pin.specifier] == ["=="], pin
        if pin.marker is None or pin.marker.evaluate(where):
            name = canonicalize_name(pin.name)
            assert name not in pinned, pin
            pinned[name] = next(iter(pin.specifier)).version
    for requirement in wanted():
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_imports_run_one_way():
    helpers = ("commands", "exercises", "notebook")
    wrong = []
    for file in sorted((ROOT / "course_utils").rglob("*.py")):
        place = file.relative_to(ROOT / "course_utils")
        if place.parts[0] not in (*helpers, "cli.py"):
            found = re.findall(rf"course_utils(?:\.| import )(?:{'|'.join(helpers)})\b", file.read_text())
            wrong += [f"{place} names {name}" for name in found]
        if place.parts[0] == "toys" and "course_utils.datasets" in file.read_text():
            wrong.append(f"{place} names course_utils.datasets, which imports the toys")
    assert wrong == []


# Put together from pieces, so that this file does not match itself.
FORBIDDEN = [
    r"(?<![\w.])/(home|Users|root|work|tmp)" + r"/\w",
    r"[A-Z]:\\" + r"Users",
    r"py" + r"pi\.org",
    r"python" + r"hosted\.org",
    r"conda\." + r"anaconda",
    r"npm" + r"js\.org",
    r"://[^/\s\"]+:[^/\s\"]+" + r"@",
]


def test_patterns_find_what_they_are_for():
    bad = ["/home" + "/ann/x", "/tmp" + "/ipykernel_7/1.py", "https://files.python" + "hosted.org/x"]
    assert all(any(re.search(pattern, text) for pattern in FORBIDDEN) for text in bad)
    good = ["a/b/home/c", "../work/x", "np.array(x)/root", "https://example.org/root/x"]
    assert not any(re.search(pattern, text) for pattern in FORBIDDEN for text in good)


def test_no_file_names_a_machine_or_a_registry():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = []
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        file = ROOT / name
        data = file.read_bytes() if file.is_file() else b""
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8").splitlines(), start=1):
            found += [f"{name}:{number}: {m[0]}" for p in FORBIDDEN if (m := re.search(p, line))]
    assert found == []


def test_readme_lists_the_series():
    rows = re.findall(r"^\| `?\[?`?(\d\d_\w+).*\| *(\d+) *\|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rows == [(entry.name, str(entry.minutes)) for entry in SERIES]


def test_readme_says_which_notebooks_exist():
    linked = set(re.findall(r"\(notebooks/(\w+)\.ipynb\)", (ROOT / "README.md").read_text()))
    assert linked == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_that_the_prose_links_to_exist(name):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_nothing_is_unpickled():
    """Parameters are safetensors and JSON: a file that somebody hands on cannot run code."""
    forbidden = re.compile(
        r"\b(pickle\.loads?|Unpickler|cloudpickle|joblib\.load|allow_pickle=True)\b"
        r"|torch\.load(?!\([^)]*weights_only=True)|from pickle import"
    )
    assert all(map(forbidden.search, ("torch.load(path)", "x = pickle.load(f)", "np.load(p, allow_pickle=True)")))
    found = [p.name for p in (ROOT / "course_utils").rglob("*.py") if forbidden.search(p.read_text())]
    assert not found
