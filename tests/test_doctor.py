"""`course doctor` names every fault with its cure, and prints the same on every healthy machine."""

import importlib.metadata as md
import shutil
import sys
from argparse import Namespace
from collections import namedtuple

import pytest
import torch
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from packaging.requirements import Requirement

from course_utils import cli
from course_utils.commands import doctor as d
from course_utils.store import Store


@pytest.fixture(autouse=True)
def filled(monkeypatch, tmp_path):
    """A store of these tests' own: two results, one of them damaged, and unfinished work."""
    monkeypatch.setenv("COURSE_STORE", str(tmp_path / "results"))
    store = Store()
    store.write("features", "abc", {"x": torch.zeros(500_000)}, {})
    store.write("features", "abd", {"x": torch.zeros(250_000)}, {})
    store.write("rows", "abe", {}, {})
    store.journal("features", "abf").append({}, {})
    store.journal("features", "abf").append({}, {})
    path = store.folder / "features" / "abd.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    return store


@pytest.fixture
def installed(monkeypatch):
    """Pretend that these versions are installed; None means not at all."""
    real, fake = md.version, {}

    def version(name):
        if name in fake and fake[name] is None:
            raise md.PackageNotFoundError(name)
        return fake.get(name) or real(name)

    monkeypatch.setattr(md, "version", version)
    return fake


def names(checks):
    return {check.name.split()[0] for check in checks}


def test_this_environment_is_healthy(capsys, monkeypatch):
    monkeypatch.delenv("COURSE_STATIC", raising=False)
    assert d.main(Namespace(clear_store=False)) == 0
    out = capsys.readouterr().out
    assert "[FAIL]" not in out and out.endswith("All set.\n")
    assert f"torch >=2.9: {md.version('torch')}" in out
    for word in ("GPU", "threads", "free disk space", "ToyVOC", "store"):
        assert word in out


def test_package_list_is_the_installed_metadata():
    needed = [Requirement(r) for r in md.requires("course_utils")]
    assert {r.name for r in needed if r.marker is None} <= names(d.checks())
    assert "hypothesis" not in names(d.checks())


def test_missing_package(installed, capsys):
    installed["scikit-image"] = None
    assert d.main(Namespace(clear_store=False)) == 1
    out = capsys.readouterr().out
    assert "[FAIL] scikit-image >=0.25: not installed\n       -> " in out and d.INSTALL in out
    assert out.endswith("1 of these must be mended first.\n")


def test_old_package(installed):
    installed["numpy"] = "1.26.4"
    check = d.package(Requirement("numpy>=2.2"))
    assert check.ok is False and check.detail == "1.26.4" and d.INSTALL in check.cure


@pytest.mark.parametrize("version", ["2.15.0.dev20260101", "2.15.0+cpu", "3.0"])
def test_newer_and_local_versions_are_fine(installed, version):
    installed["torch"] = version
    assert d.package(Requirement("torch>=2.9")).ok


def test_old_python(monkeypatch):
    monkeypatch.setattr(d.platform, "python_version", lambda: "3.10.13")
    line = d.python_version().line()
    assert line.startswith("[FAIL] Python >=3.11: 3.10.13\n") and "make PYTHON=" in line


def test_mismatched_pair_by_version(installed):
    installed["torch"] = "2.9.0"
    line = d.torch_pair().line()
    assert line.startswith("[FAIL] torch and torchvision belong together: torch 2.9.0 with torchvision")
    wanted = next(r for r in map(Requirement, md.requires("torchvision")) if r.name == "torch")
    assert f"made for torch {wanted.specifier}" in line and d.INSTALL in line


def test_mismatched_pair_that_only_shows_when_used(monkeypatch):
    def broken():
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(d, "_nms_of_two_boxes", broken)
    line = d.torch_pair().line()
    assert line.startswith("[FAIL]") and "nms does not exist" in line and d.INSTALL in line


def test_nms_that_answers_wrongly(monkeypatch):
    monkeypatch.setattr(d, "_nms_of_two_boxes", lambda: [0, 1])
    assert d.torch_pair().ok is False


def test_pair_with_torchvision_missing(installed):
    installed["torchvision"] = None
    assert d.torch_pair().line().startswith("[FAIL] torch and torchvision belong together: torchvision is not")


def test_full_disk(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 300_000_000))
    line = d.disk(tmp_path / "not" / "made" / "yet").line()
    assert line.startswith("[FAIL] free disk space of 1 GB: 0.3 GB\n") and "COURSE_DATA" in line


def test_kernel_of_another_python(monkeypatch):
    spec = namedtuple("spec", "argv")(["/elsewhere/bin/python3", "-m", "ipykernel_launcher"])
    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda self, name: spec)
    line = d.kernel().line()
    assert line.startswith("[FAIL]") and "/elsewhere/bin/python3" in line and "ipykernel install" in line


def test_no_kernel(monkeypatch):
    def nothing(self, name):
        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", nothing)
    assert d.kernel().line().startswith("[FAIL] Jupyter starts this Python: no kernel named python3\n")


def test_nothing_installed_is_a_report_and_no_traceback(monkeypatch, capsys):
    for module in ("torch", "torchvision", "torchvision.ops", "jupyter_client.kernelspec"):
        monkeypatch.setitem(sys.modules, module, None)
    assert d.main(Namespace(clear_store=False)) == 1
    out = capsys.readouterr().out
    assert "[FAIL] torch and torchvision belong together" in out and "[FAIL] Jupyter starts this Python" in out
    assert "[ -- ] GPU: unknown" in out and out.count(d.INSTALL) == 2


def test_missing_nbval_does_not_fail(installed):
    installed["nbval"] = None
    check = d.optional_package(Requirement("nbval>=0.11"))
    assert check.ok is None and "not installed" in check.line()


def test_static_output_holds_nothing_of_this_machine(installed, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COURSE_STATIC", "1")
    assert d.doctor()
    here = capsys.readouterr().out
    usage = namedtuple("usage", "total used free")
    installed.update({"numpy": "9.9.9", "nbval": None, "tqdm": "77"})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**13, 0, 10**13))
    monkeypatch.setattr(d.platform, "python_version", lambda: "3.13.1")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr("os.cpu_count", lambda: 96)
    assert d.doctor()
    assert capsys.readouterr().out == here
    assert "[ OK ] all packages" in here and "numpy" not in here and "[ -- ]" not in here


def test_static_output_still_tells_what_is_wrong(installed, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_STATIC", "1")
    installed["numba"] = None
    assert not d.doctor()
    assert "[FAIL] numba >=0.62: not installed\n       -> " in capsys.readouterr().out


def test_size_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.bin").write_bytes(bytes(3_000_000))
    assert d.folder("data", tmp_path / "a", "empty").detail == "3 MB"
    assert d.folder("data", tmp_path / "none", "empty").detail == "empty"


def test_store_is_shown(filled):
    check = d.store()
    assert check.ok is None and check.line() == (
        "[ -- ] store of results: 3 MB; 1 of features, 1 of rows; damaged: features/abd; "
        "to be taken up again: features/abf (2 parts)\n       -> what is damaged is made again when it is needed; "
        "to empty the store: course doctor --clear-store"
    )
    assert filled.clear() == 3
    assert d.store().line().startswith("[ -- ] store of results: empty; ")


def test_store_in_a_folder_of_somebody_elses(monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    monkeypatch.setenv("COURSE_STORE", str(tmp_path / "mine"))
    line = d.store().line()
    assert line.startswith("[FAIL] store of results: ") and "COURSE_STORE" in line
    assert cli.main(["doctor", "--clear-store"]) == 2 and (tmp_path / "mine" / "thesis.txt").exists()


def test_store_is_emptied(filled, capsys):
    assert cli.main(["doctor", "--clear-store"]) == 0
    told = capsys.readouterr().out
    assert told == f"{filled.folder}: removed 3 results (3 MB) and the parts of 1 unfinished ones.\n"
    assert list(filled.files()) == list(filled.unfinished()) == []
    assert cli.main(["doctor", "--clear-store"]) == 0
    assert "removed 0 results (0 MB) and the parts of 0 unfinished" in capsys.readouterr().out


def test_store_is_shown_where_torch_does_not_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert d.store().detail.startswith("3 MB; ")
