"""``course doctor``: does this machine have what the course needs, and what to do where it has not."""

import argparse
import importlib.metadata as md
import os
import platform
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from course_utils.errors import CourseError, DataError
from course_utils.paths import data_dir
from course_utils.progress import static_mode

HELP = "Check this machine: Python, packages, PyTorch, Jupyter, disk, data. Says how to mend what is missing."
EXAMPLE = "course doctor"

INSTALL = "python -m pip install -c constraints.txt -e '.[test,bench]'"
MEND = f"in the course's folder and its environment: {INSTALL}"
MIN_FREE_GB = 1.0


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes
    ----------
    name : str
        What is checked, in words that are the same on every machine.
    ok : bool or None
        Whether the course has what it needs; None for what is only good to know.
    detail : str
        What this machine has.
    cure : str
        What to do about it.
    package : bool
        Whether it is a package that the course needs.
    """

    name: str
    ok: bool | None
    detail: str = ""
    cure: str = ""
    package: bool = False

    def line(self, *, static: bool = False) -> str:
        """The line as printed; with ``static`` nothing that differs between two healthy machines."""
        mark = {True: "[ OK ]", False: "[FAIL]", None: "[ -- ]"}[self.ok]
        detail = "" if static and self.ok else self.detail
        text = f"{mark} {self.name}" + (f": {detail}" if detail else "")
        return f"{text}\n       -> {self.cure}" if self.cure else text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whether to empty the store."""
    parser.add_argument("--clear-store", action="store_true", help="empty the store of results instead, and say so")


def main(args: argparse.Namespace) -> int:
    """Print the report, 1 when something needed is missing; or empty the store."""
    if args.clear_store:
        return clear_store()
    return 0 if doctor() else 1


def doctor() -> bool:
    """Print one line per requirement and say whether all are met; the first cell of notebook 00 calls it.

    Under ``COURSE_STATIC=1`` only the requirements are listed, without figures, so that the stored output is
    the same on every machine where all is well.
    """
    static = static_mode()
    found = checks()
    if static:  # what is only good to know differs between machines, and the packages fill a page
        if all(check.ok for check in found if check.package):
            print("[ OK ] all packages, each within its bounds")
        shown = [check for check in found if check.ok is False or (check.ok and not check.package)]
    else:
        shown = found
    for check in shown:
        print(check.line(static=static))
    failed = sum(check.ok is False for check in found)
    print(f"{failed} of these must be mended first." if failed else "All set.")
    return not failed


def checks() -> list[Check]:
    """Every requirement of the course against this machine."""
    needed = [Requirement(r) for r in md.requires("course_utils") or []]
    return [
        python_version(),
        *(replace(package(r), package=True) for r in needed if r.marker is None),
        torch_pair(),
        kernel(),
        *(optional_package(r) for r in needed if r.name == "nbval"),
        disk(data_dir()),
        threads(),
        gpu(),
        folder("data set ToyVOC", data_dir() / "toyvoc", "not made yet; `course run` makes it"),
        store(),
    ]


def python_version() -> Check:
    """The running Python against ``requires-python``."""
    wanted = SpecifierSet(md.metadata("course_utils")["Requires-Python"])
    have = platform.python_version()
    ok = wanted.contains(have, prereleases=True)
    cure = "" if ok else "install a newer Python, then in the course's folder: make PYTHON=python3.12 run"
    return Check(f"Python {wanted}", ok, have, cure)


def package(wanted: Requirement) -> Check:
    """One installed package against its bounds."""
    name = f"{wanted.name} {wanted.specifier}"
    try:
        have = md.version(wanted.name)
    except md.PackageNotFoundError:
        return Check(name, False, "not installed", MEND)
    ok = wanted.specifier.contains(have, prereleases=True)
    return Check(name, ok, have, "" if ok else MEND)


def optional_package(wanted: Requirement) -> Check:
    """The same for a package that only `make test` needs."""
    found = package(wanted)
    if found.ok:
        return Check(found.name, None, f"{found.detail} (checks the notebooks)")
    return Check(found.name, None, f"{found.detail}; needed only to test the notebooks")


def torch_pair() -> Check:
    """torchvision is built for one torch; with another its compiled part does not load, or only in part."""
    name = "torch and torchvision belong together"
    try:
        torch, vision = md.version("torch"), md.version("torchvision")
    except md.PackageNotFoundError as error:
        return Check(name, False, f"{error.name} is not installed", MEND)
    have = f"torch {torch} with torchvision {vision}"
    for requirement in map(Requirement, md.requires("torchvision") or []):
        if requirement.name == "torch" and not requirement.specifier.contains(torch, prereleases=True):
            return Check(name, False, f"{have}, which is made for torch {requirement.specifier}", MEND)
    try:
        kept = _nms_of_two_boxes()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        fault = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Check(name, False, f"{have}: torchvision's compiled part does not load ({fault})", MEND)
    return Check(name, kept == [0], have, "" if kept == [0] else MEND)


def _nms_of_two_boxes() -> list[int]:
    import torch
    from torchvision.ops import nms

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0]])
    return nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist()


def kernel() -> Check:
    """Jupyter's kernel ``python3`` must be this very Python, or notebooks lack the course's packages."""
    name = "Jupyter starts this Python"
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError as error:
        return Check(name, False, str(error), MEND)
    cure = "in the course's environment: python -m ipykernel install --sys-prefix"
    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Check(name, False, "no kernel named python3", cure)
    ok = program in ("python", "python3") or Path(program).absolute() == Path(sys.executable).absolute()
    return Check(name, ok, "kernel python3" if ok else f"kernel python3 starts {program}", "" if ok else cure)


def disk(where: Path) -> Check:
    """Free space for the data and the store."""
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free / 1e9
    ok = free >= MIN_FREE_GB
    cure = "" if ok else "delete something, or set COURSE_DATA to a folder on a larger disk"
    return Check(f"free disk space of {MIN_FREE_GB:.0f} GB", ok, f"{free:.1f} GB", cure)


def threads() -> Check:
    """Processor cores, and how many of them torch uses."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("processor", None, f"{os.cpu_count()} cores; torch does not import: {error}")
    return Check("processor", None, f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")


def gpu() -> Check:
    """Which accelerator torch sees; the course needs none."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("GPU", None, f"unknown; torch does not import: {error}")
    if torch.cuda.is_available():
        return Check("GPU", None, torch.cuda.get_device_name(0))
    if torch.backends.mps.is_available():
        return Check("GPU", None, "Apple (mps)")
    return Check("GPU", None, "none, and nothing in the course needs one")


def folder(name: str, path: Path, missing: str) -> Check:
    """How much a folder holds."""
    if not path.is_dir():
        return Check(name, None, missing)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return Check(name, None, f"{size / 1e6:.0f} MB")


def store() -> Check:
    """What the store holds, by kind; which files are damaged; which work is not finished."""
    name = "store of results"
    try:
        from course_utils.bundle import read_info
        from course_utils.store import Store
    except ImportError as error:
        return Check(name, None, f"unknown; {error}")
    here = Store()
    try:
        here.check_folder()
    except CourseError as error:
        return Check(name, False, str(error))
    size, kinds, damaged = 0, Counter(), []
    for kind, key, path in here.files():
        size += path.stat().st_size
        try:
            read_info(path)
        except DataError:
            damaged.append(f"{kind}/{key}")
        else:
            kinds[kind] += 1
    unfinished = [f"{kind}/{key} ({parts} parts)" for kind, key, parts in here.unfinished()]
    if not kinds and not damaged and not unfinished:
        return Check(name, None, "empty; results that take long are kept there once computed")
    detail = f"{size / 1e6:.0f} MB; " + (", ".join(f"{n} of {kind}" for kind, n in kinds.items()) or "no whole result")
    if damaged:
        detail += f"; damaged: {', '.join(damaged)}"
    if unfinished:
        detail += f"; to be taken up again: {', '.join(unfinished)}"
    cure = "what is damaged is made again when it is needed; to empty the store: course doctor --clear-store"
    return Check(name, None, detail, cure if damaged else "")


def clear_store() -> int:
    """Empty the store and say what went."""
    from course_utils.store import Store

    here = Store()
    before, unfinished = sum(path.stat().st_size for _, _, path in here.files()), len(list(here.unfinished()))
    removed = here.clear()
    unfinished -= len(list(here.unfinished()))
    left = list(here.files())
    freed = before - sum(path.stat().st_size for _, _, path in left)
    megabytes = freed / 1e6
    print(
        f"{here.folder}: removed {removed} results ({megabytes:.0f} MB) and the parts of {unfinished} unfinished ones."
    )
    if left:
        print(f"{len(left)} results stay: another program is working on them.")
    return 0
