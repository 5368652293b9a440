"""Whatever changes what a function does changes its fingerprint, and nothing else does."""

import functools
import importlib
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import types
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import fingerprint as module_under_test
from course_utils.errors import CourseError
from course_utils.fingerprint import dependencies, fingerprint
from course_utils.paths import repo_root


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Import the package ``scratch`` anew from these files, each time from another folder."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    count = iter(range(1000))

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == "scratch"]:
            del sys.modules[name]

    def make(**sources):
        forget()
        folder = tmp_path / str(next(count))
        (folder / "scratch").mkdir(parents=True)
        (folder / "scratch" / "__init__.py").touch()
        for name, source in sources.items():
            (folder / "scratch" / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(folder))
        return importlib.import_module("scratch.a")

    yield make
    forget()


CHAIN = {
    "a": """
        from scratch import b

        def f(x):
            return b.g(x) + 1
        """,
    "b": """
        from scratch.c import h

        def g(x):
            return 2 * h(x)

        def unused(x):
            return x
        """,
    "c": """
        import math
        from scratch import d as deep

        SCALE = {"x": (1.0, 2)}

        def h(x):
            return math.sqrt(deep.Model(3).score(x) * SCALE["x"][1])
        """,
    "d": """
        class Base:
            bias = 0.5

            def offset(self):
                return self.bias

        class Model(Base):
            def __init__(self, k=1):
                self.k = k

            def score(self, x):
                return self._inner(x) + self.offset()

            def _inner(self, x):
                return self.k * x
        """,
}

CHANGES = {
    "the function": ("a", "+ 1", "+ 2"),
    "one below": ("b", "2 * h(x)", "3 * h(x)"),
    "two below": ("c", "math.sqrt(", "math.exp("),
    "a method three below": ("d", "self.k * x", "self.k + x"),
    "a base class": ("d", "return self.bias", "return -self.bias"),
    "a class attribute": ("d", "bias = 0.5", "bias = 0.25"),
    "a default": ("d", "k=1", "k=2"),
    "a constant": ("c", "(1.0, 2)", "(1.0, 3)"),
    "the type of a constant": ("c", "(1.0, 2)", "(1, 2)"),
    "where a name points": ("c", "from scratch import d as deep", "import scratch.b as deep\ndeep.Model = Counter"),
    "a library's function of the same name": ("c", "import math", "import cmath as math"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_gives_a_new_fingerprint(package, change):
    file, old, new = CHANGES[change]
    before = fingerprint(package(**CHAIN).f)
    assert old in CHAIN[file]
    source = textwrap.dedent(CHAIN[file]).replace(old, new)
    if "Counter" in new:
        source = "from collections import Counter\n" + source
    assert fingerprint(package(**CHAIN | {file: source}).f) != before


def test_comments_docstrings_formatting_and_folders_do_not_count(package):
    before = fingerprint(package(**CHAIN).f)
    changed = {
        name: "# a comment\n\n\n" + re.sub(r"(def .*:|class .*:)\n( +)", r'\1\n\2"""Words."""\n\2# more\n\2', text)
        for name, text in ((name, textwrap.dedent(text)) for name, text in CHAIN.items())
    }
    changed["a"] = changed["a"].replace("b.g(x) + 1", "(\n        b . g(x)  # here\n        + 1\n    )")
    changed["b"] = changed["b"].replace("return x\n", "return x + 1\n")  # nobody calls it
    assert all(changed[name] != textwrap.dedent(CHAIN[name]) for name in CHAIN)
    assert fingerprint(package(**changed).f) == before


def test_dependencies_name_all_that_enters(package):
    assert dependencies(package(**CHAIN).f) == [
        "scratch.a.f", "scratch.b.g", "scratch.c.SCALE", "scratch.c.h", "scratch.d.Base", "scratch.d.Base.offset",
        "scratch.d.Model", "scratch.d.Model.__init__", "scratch.d.Model._inner", "scratch.d.Model.score",
    ]  # fmt: skip


# Pairs of modules a.py that differ in what f does, or in how it is written.
DIFFERENT = {
    "swapped functions": (
        "one = lambda x: x + 1\ntwo = lambda x: x + 2\ndef f(x): return one(x) * two(x) ** 2",
        "two = lambda x: x + 1\none = lambda x: x + 2\ndef f(x): return one(x) * two(x) ** 2",
    ),
    "swapped names": (
        "def g(x): return x + 1\ndef h(x): return x - 1\np, q = g, h\ndef f(x): return p(x) * q(x) ** 2",
        "def g(x): return x + 1\ndef h(x): return x - 1\nq, p = g, h\ndef f(x): return p(x) * q(x) ** 2",
    ),
    "closures": (
        "def make(k):\n  def f(x): return k * x\n  return f\nf = make(2)",
        "def make(k):\n  def f(x): return k * x\n  return f\nf = make(3)",
    ),
    "functions in a closure": (
        "def make(g):\n  def f(x): return g(x)\n  return f\ndef one(x): return x\nf = make(one)",
        "def make(g):\n  def f(x): return g(x)\n  return f\ndef one(x): return -x\nf = make(one)",
    ),
    "a local decorator": (
        "def twice(g):\n  def w(*a): return 2 * g(*a)\n  return w\n@twice\ndef f(x): return x",
        "def twice(g):\n  def w(*a): return 3 * g(*a)\n  return w\n@twice\ndef f(x): return x",
    ),
    "under functools.wraps": (
        "import functools\ndef same(g):\n  @functools.wraps(g)\n  def w(*a): return g(*a)\n  return w\n"
        "@same\ndef f(x): return x",
        "import functools\ndef same(g):\n  @functools.wraps(g)\n  def w(*a): return g(*a)\n  return w\n"
        "@same\ndef f(x): return -x",
    ),
    "under lru_cache": (
        "import functools\n@functools.lru_cache(maxsize=9)\ndef f(x): return g(x)\ndef g(x): return x",
        "import functools\n@functools.lru_cache(maxsize=9)\ndef f(x): return g(x)\ndef g(x): return -x",
    ),
    "under a library's decorator": (
        "import torch\n@torch.no_grad()\ndef f(x): return g(x)\ndef g(x): return x",
        "import torch\n@torch.no_grad()\ndef f(x): return g(x)\ndef g(x): return -x",
    ),
    "under contextmanager": (
        "from contextlib import contextmanager\n@contextmanager\ndef f(x): yield x",
        "from contextlib import contextmanager\n@contextmanager\ndef f(x): yield -x",
    ),
    "a partial's argument": (
        "import functools\ndef g(x, k): return k * x\nf = functools.partial(g, k=2)",
        "import functools\ndef g(x, k): return k * x\nf = functools.partial(g, k=3)",
    ),
    "a partial's function": (
        "import functools\ndef g(x, k): return k * x\nf = functools.partial(g, k=2)",
        "import functools\ndef g(x, k): return k + x\nf = functools.partial(g, k=2)",
    ),
    "numba": (
        "import numba\n@numba.njit\ndef f(x): return g(x)\n@numba.njit\ndef g(x): return x",
        "import numba\n@numba.njit\ndef f(x): return g(x)\n@numba.njit\ndef g(x): return -x",
    ),
    "numba's options": (
        "import numba\ndef g(x): return x\nf = numba.njit(g)",
        "import numba\ndef g(x): return x\nf = numba.njit(g, fastmath=True)",
    ),
    "an import in the body": (
        "def f(x):\n  from scratch.b import g\n  return g(x)",
        "def f(x):\n  from scratch.b import h as g\n  return g(x)",
    ),
    "what an import in the body brings": (
        "def f(x):\n  import scratch.b as b\n  return b.g(x)",
        "def f(x):\n  import scratch.b as b\n  return b.h(x)",
    ),
    "a relative import in the body": (
        "def f(x):\n  from .b import g as k\n  return k(x)",
        "def f(x):\n  from .b import h as k\n  return k(x)",
    ),
    "a module in the body, by its full name": (
        "def f(x):\n  import scratch.b\n  return scratch.b.g(x)",
        "def f(x):\n  import scratch.c\n  return scratch.c.g(x)",
    ),
    "a keyword's default": ("def f(x, *, k=1): return k", "def f(x, *, k=2): return k"),
    "a default from a name": ("K = 1\ndef f(x, k=K): return k", "K = 2\ndef f(x, k=K): return k"),
    "a keyword's default from a name": ("K = 1\ndef f(x, *, k=K): return k", "K = 2\ndef f(x, *, k=K): return k"),
    "a library's decorator around a library's function": (
        "import statistics, torch\nf = torch.no_grad()(statistics.mean)",
        "import statistics, torch\nf = torch.inference_mode()(statistics.mean)",
    ),
    "a table of functions": (
        "def g(x): return x\nTABLE = {'g': g}\ndef f(x): return TABLE['g'](x)",
        "def g(x): return -x\nTABLE = {'g': g}\ndef f(x): return TABLE['g'](x)",
    ),
    "an array": (
        "import numpy as np\nW = np.arange(6.0)\ndef f(x): return x @ W",
        "import numpy as np\nW = np.arange(6.0) + [0, 0, 0, 0, 0, 1e-9]\ndef f(x): return x @ W",
    ),
    "a trained network": (
        "import torch\nnet = torch.nn.Linear(2, 1)\ntorch.nn.init.ones_(net.weight)\ntorch.nn.init.ones_(net.bias)\n"
        "def f(x): return net(x)",
        "import torch\nnet = torch.nn.Linear(2, 1)\ntorch.nn.init.ones_(net.weight)\ntorch.nn.init.zeros_(net.bias)\n"
        "def f(x): return net(x)",
    ),
    "a pattern": (
        "import re\nP = re.compile('a+')\ndef f(x): return P.match(x)",
        "import re\nP = re.compile('a+', re.I)\ndef f(x): return P.match(x)",
    ),
    "a path": (
        "from pathlib import Path\nP = Path('a')\ndef f(x): return P / x",
        "from pathlib import Path\nP = Path('b')\ndef f(x): return P / x",
    ),
    "a dataclass's field": (
        "from dataclasses import dataclass\n@dataclass\nclass f:\n  k: int = 1",
        "from dataclasses import dataclass\n@dataclass\nclass f:\n  k: int = 2",
    ),
    "a dataclass's factory": (
        "import dataclasses as d\ndef g(): return 1\n@d.dataclass\nclass f:\n  k: int = d.field(default_factory=g)",
        "import dataclasses as d\ndef g(): return 2\n@d.dataclass\nclass f:\n  k: int = d.field(default_factory=g)",
    ),
    "a dataclass's order": (
        "from dataclasses import dataclass\n@dataclass\nclass f:\n  k: int = 1",
        "from dataclasses import dataclass\n@dataclass(order=True)\nclass f:\n  k: int = 1",
    ),
    "an instance": (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n  k: int = 1\nc = C(1)\ndef f(x): return c.k",
        "from dataclasses import dataclass\n@dataclass\nclass C:\n  k: int = 1\nc = C(2)\ndef f(x): return c.k",
    ),
    "an instance's class": (
        "class C:\n  def __call__(self, x): return x\nc = C()\ndef f(x): return c(x)",
        "class C:\n  def __call__(self, x): return -x\nc = C()\ndef f(x): return c(x)",
    ),
    "an enum": (
        "from enum import Enum\nclass E(Enum):\n  A = 1\ndef f(x): return E.A",
        "from enum import Enum\nclass E(Enum):\n  A = 2\ndef f(x): return E.A",
    ),
    "a property": (
        "class f:\n  @property\n  def x(self): return 1",
        "class f:\n  @property\n  def x(self): return 2",
    ),
    "a cached property": (
        "import functools\nclass f:\n  @functools.cached_property\n  def x(self): return 1",
        "import functools\nclass f:\n  @functools.cached_property\n  def x(self): return 2",
    ),
    "a class method": (
        "class f:\n  @classmethod\n  def x(cls): return 1",
        "class f:\n  @classmethod\n  def x(cls): return 2",
    ),
    "a method put there later": (
        "class f:\n  def x(self): return 1",
        "class f:\n  def x(self): return 1\ndef y(self): return 2\nf.x = y",
    ),
    "a metaclass": (
        "class M(type):\n  def __call__(cls): return 1\nclass f(metaclass=M): pass",
        "class M(type):\n  def __call__(cls): return 2\nclass f(metaclass=M): pass",
    ),
    "what a method calls through self": (
        "class C:\n  def m(self): return self.n()\n  def n(self): return 1\nf = C.m",
        "class C:\n  def m(self): return self.n()\n  def n(self): return 2\nf = C.m",
    ),
    "a bound method's object": (
        "class C:\n  def __init__(self, k): self.k = k\n  def m(self): return self.k\nf = C(1).m",
        "class C:\n  def __init__(self, k): self.k = k\n  def m(self): return self.k\nf = C(2).m",
    ),
    "a module as a value": (
        "from scratch import b\ndef f(x): return getattr(b, x)",
        "from scratch import c\ndef f(x): return getattr(c, x)",
    ),
    "a function inside": (
        "def g(x): return 1\ndef f(x):\n  def h(): return g(x)\n  return h()",
        "def g(x): return 2\ndef f(x):\n  def h(): return g(x)\n  return h()",
    ),
    "a name that is local elsewhere": (
        "k = 1\ndef f(x):\n  def h(k): return k.k\n  return h(x) + k",
        "k = 2\ndef f(x):\n  def h(k): return k.k\n  return h(x) + k",
    ),
    "one of two lambdas on a line": (
        "f, g = lambda x: x + 1, lambda x: x + 2",
        "g, f = lambda x: x + 1, lambda x: x + 2",
    ),
    "a lambda with two returns": (
        "f = lambda x: x if x else 1",
        "f = lambda x: x if x else 2",
    ),
    "circles": (
        "def f(x): return g(x) if x else 0\ndef g(x): return f(x - 1)",
        "def f(x): return g(x) if x else 0\ndef g(x): return f(x - 2)",
    ),
    "an attribute of a function": (
        "def f(x): return f.k\nf.k = 1",
        "def f(x): return f.k\nf.k = 2",
    ),
    "a name that is no longer there": (
        "from scratch import b\ndef f(x): return b.g(x)",
        "from scratch import b\ndel b.g\ndef f(x): return b.g(x)",
    ),
}
OTHERS = {
    "b": "def g(x): return x\ndef h(x): return 2 * x",
    "c": "def g(x): return 3 * x\ndef h(x): return 4 * x",
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_difference_is_seen(package, what):
    one, two = DIFFERENT[what]
    first = fingerprint(package(a=one, **OTHERS).f)
    assert fingerprint(package(a=two, **OTHERS).f) != first
    assert fingerprint(package(a="# again\n\n" + one, **OTHERS).f) == first


@pytest.mark.parametrize(
    "body",
    [
        "from scratch.b import g; return g(x)",
        "from scratch.b import g as k; return k(x)",
        "from .b import g; return g(x)",
        "from . import b; return b.g(x)",
        "import scratch.b; return scratch.b.g(x)",
        "import scratch.b as k; return k.g(x)",
        "from scratch import b; return x",
    ],
)
def test_change_behind_an_import_in_the_body(package, body):
    source = f"def f(x): {body}"
    before = fingerprint(package(a=source, **OTHERS).f)
    changed = OTHERS | {"b": OTHERS["b"].replace("return x", "return -x")}
    assert fingerprint(package(a=source, **changed).f) != before


@pytest.mark.parametrize("form", ["def f(x): return b.g(x)", "f = lambda x: b.g(x)", "f, h = lambda x: b.g(x), 1"])
def test_only_what_is_named_in_a_module_enters(package, form):
    module = package(a=f"from scratch import b\n{form}", **OTHERS)
    assert [name for name in dependencies(module.f) if ".b" in name] == ["scratch.b.g"]


@pytest.mark.parametrize("other", ["b", "c"])
def test_change_in_a_module_that_is_passed_on_whole(package, other):
    passed = "from scratch import b\ndef f(x): return getattr(b, x)"
    before = fingerprint(package(a=passed, **OTHERS).f)
    changed = OTHERS | {other: OTHERS[other].replace("return", "return 1 +")}
    assert (fingerprint(package(a=passed, **changed).f) == before) == (other == "c")


def test_change_behind_a_module_that_is_passed_on_whole(package):
    sources = {"a": "from scratch import b\ndef f(x): return getattr(b, x)", "b": "from scratch.c import g"}
    found = [fingerprint(package(**sources, c=f"def g(x): return {n}").f) for n in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_methods_that_dataclass_writes_do_not_enter(package):
    """They differ between versions of Python; the fields and options that they are made from enter."""
    module = package(a=KINDS_OF_CLASSES)
    assert dependencies(module.Slots) == ["scratch.a.Slots", "scratch.a.Slots.twice"]


def test_what_was_cached_does_not_count(package):
    source = "import functools\n@functools.cache\ndef f(x): return x"
    module = package(a=source)
    before = fingerprint(module.f)
    module.f(3)
    assert fingerprint(module.f) == before


def test_global_that_is_only_named_as_an_attribute_does_not_count(package):
    texts = [f"size = {n}\ndef f(x):\n  size = x.size\n  return size" for n in (1, 2)]
    assert len({fingerprint(package(a=text).f) for text in texts}) == 1


def test_order_and_number_of_objects_count(package):
    module = package(a="def f(x): return x\ndef g(x): return -x")
    f, g = module.f, module.g
    found = [(), (f,), (g,), (f, g), (g, f), (f, f), (1,), ("1",)]
    assert len({fingerprint(*objects) for objects in found}) == len(found)


def test_installed_packages_enter_by_name_only():
    assert dependencies(torch.nn.Linear, np.linalg.svd, functools.partial(np.sum, axis=0)) == []
    names = [torch.nn.Linear, torch.nn.Conv2d, np.sum, np.maximum, len, str.join, [].append, torch.relu, torch.float32]
    assert len({fingerprint(x) for x in names}) == len(names)


def test_edited_file_of_a_running_program_is_an_error(package):
    """The old function still runs; under the new source's key its result would be a lie."""
    module = package(**CHAIN)
    file = Path(sys.modules["scratch.b"].__file__)
    before, source = fingerprint(module.f), file.read_text()
    file.write_text("# moved down\n" + source)
    assert fingerprint(module.f) == before
    file.write_text(source.replace("2 * h(x)", "3 * h(x)"))
    with pytest.raises(CourseError, match=r"b\.py was changed after it was imported: scratch\.b\.g .*Restart"):
        fingerprint(module.f)
    importlib.reload(sys.modules["scratch.b"])
    assert fingerprint(module.f) != before


@pytest.mark.parametrize(
    ("value", "kind"), [("threading.Lock()", "_thread.lock"), ("open(__file__)", "_io.TextIOWrapper")]
)
def test_what_cannot_be_hashed_is_one_clear_error(package, value, kind):
    module = package(a=f"import threading\nTHING = {value}\ndef f(x): return THING")
    with pytest.raises(CourseError) as caught:
        fingerprint(module.f)
    message = str(caught.value)
    assert message.startswith(f"scratch.a.f (THING) uses a {kind}, whose content cannot be hashed")
    assert "\n" not in message


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, VALUES)
def test_values_have_one_fingerprint_each(a, b):
    assert (fingerprint(a) == fingerprint(b)) == (repr(a) == repr(b))


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Point:
    x: int
    y: list = field(default_factory=list)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, True), (0.0, -0.0), (1, 1.0), ([1], (1,)), ({1}, frozenset({1})), (b"x", "x"), (b"x", bytearray(b"x")),
        (np.float32(1), np.float64(1)), (np.zeros(2), np.zeros((2, 1))), (np.zeros(1, ">i4"), np.zeros(1, "<i4")),
        (np.array(["a", None], object), np.array(["b", None], object)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)), (torch.zeros(2), torch.zeros(2, 1)),
        (torch.zeros(2), torch.nn.Parameter(torch.zeros(2))), (torch.eye(2).bfloat16(), torch.ones(2, 2).bfloat16()),
        (Colour.RED, Colour.BLUE), (Point(1), Point(2)), (Point(1), Point(1, [3])), (range(3), range(4)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (Counter("aab"), Counter("ab")), (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, a=1), defaultdict(list, a=1)),
        (OrderedDict(a=1), OrderedDict(a=2)),
        (deque([1]), deque([2])), (functools.partial(max, 1), functools.partial(max, 2)),
        (np.random.default_rng(0), np.random.default_rng(1)), (re.compile("a"), re.compile("b")),
        (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)), (list[int], list[str]), (int | None, int),
    ],
)  # fmt: skip
def test_values_that_look_alike(a, b):
    assert fingerprint(a) != fingerprint(b)
    assert fingerprint(a) == fingerprint(a) and fingerprint([a]) != fingerprint(a)


def test_containers_that_hold_themselves():
    one, two = [1], [2]
    one.append(one), two.append(two)
    assert fingerprint(one) != fingerprint(two) and fingerprint(one) == fingerprint(one)


def test_views_and_copies_of_arrays_are_equal():
    base = torch.arange(12.0).reshape(3, 4)
    assert fingerprint(base.T) == fingerprint(base.T.contiguous()) == fingerprint(base.T.clone())
    assert fingerprint(base[:, :1].int()[:1]) == fingerprint(torch.zeros(1, 1, dtype=torch.int32))
    assert fingerprint(torch.empty(0, 4, dtype=torch.int16)) != fingerprint(torch.empty(4, 0, dtype=torch.int16))


def test_paths_within_the_course_do_not_depend_on_where_it_lies(monkeypatch, tmp_path):
    here = fingerprint(repo_root() / "data")
    monkeypatch.setattr(module_under_test, "repo_root", lambda: tmp_path)
    assert fingerprint(tmp_path / "data") == here != fingerprint(tmp_path / "build")


PROGRAM = """
import json, sys
from course_utils import boxes, store
from course_utils.commands.doctor import doctor
from course_utils.datasets.coco import CocoFile
from course_utils.datasets.toyvoc import draw
from course_utils.fingerprint import dependencies, fingerprint
words = {"cat", "dog", "cow", "horse", ("a", 1), frozenset({"x", "y", "z"}), draw, CocoFile, doctor}
def mine(x):
    return words, {"car", "bus"} & x
things = [draw, CocoFile, doctor, store.Store, store.key_of, words, mine, fingerprint]
print(json.dumps([fingerprint(thing) for thing in things]))
"""


def test_same_in_every_process():
    found = set()
    for seed in "12":
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )
        assert run.returncode == 0, run.stderr
        found.add(run.stdout)
    assert len(found) == 1 and len(set(json.loads(found.pop()))) == 8


NOTEBOOK = r"""
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def run(cell):
    result = shell.run_cell(cell, store_history=True)
    result.raise_error()
    return result.result
run("from course_utils.fingerprint import fingerprint, dependencies\nimport numpy as np")
found = {}
run("def low(x):\n    return x + 1")
run("K = 2\ndef top(x):\n    return K * low(x)")
found["first"] = run("fingerprint(top)")
run("def low(x):\n    'Words.'\n    return (x + 1)  # a remark")
found["remark"] = run("fingerprint(top)")
run("def low(x):\n    return x + 2")
found["edited"] = run("fingerprint(top)")
run("def low(x):\n    return x + 1")
found["back"] = run("fingerprint(top)")
run("K = 3")
found["constant"] = run("fingerprint(top)")
run("class Net:\n    size = 3\n    def forward(self, x):\n        return top(x) * self.size")
found["class"] = run("fingerprint(Net)")
run("class Net:\n    size = 3\n    def forward(self, x):\n        return top(x) + self.size")
found["edited class"] = run("fingerprint(Net)")
run("from course_utils.bundle import check_json\nimport inspect")
found["package"] = run("fingerprint(check_json)")
run("from course_utils.errors import DataError\nfrom typing import Any")
shell.run_cell(run("inspect.getsource(check_json)"))
found["synced cell"] = run("fingerprint(check_json)")
found["names"] = run("dependencies(Net)")
print(json.dumps(found))
"""


def test_functions_of_a_notebook(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, env=os.environ | {"IPYTHONDIR": str(tmp_path)}
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["first"] == found["remark"] == found["back"]
    assert len({found[name] for name in ("first", "edited", "constant", "class", "edited class")}) == 5
    assert found["package"] == found["synced cell"]  # what a cell holds unchanged is the package's function
    assert found["names"] == ["__main__.K", "__main__.Net", "__main__.Net.forward", "__main__.low", "__main__.top"]


def test_code_without_source():
    found = []
    for result in (1, 1, 2):
        space = {}
        exec(f"def f(x): return g(x)\ndef g(x): return {result}", space)
        found.append(fingerprint(space["f"]))
    one, again, other = found
    assert one == again != other


def test_package_that_is_not_installed(package):
    source = "def f(x):\n  import no_such_package as p\n  from no_such_package.sub import q\n  return p.g(x)"
    assert fingerprint(package(a=source).f) != fingerprint(package(a=source.replace("p.g", "p.h")).f)


KINDS_OF_CLASSES = """
import abc, enum, typing, torch
from dataclasses import dataclass
T = typing.TypeVar("T")
class Named(typing.NamedTuple):
    x: int = 1
    def twice(self): return 2 * self.x
class Face(typing.Protocol):
    def fit(self, x): ...
class Abstract(abc.ABC):
    @abc.abstractmethod
    def fit(self, x): ...
class Box(typing.Generic[T], Abstract):
    def fit(self, x): return 1
class Typed(typing.TypedDict):
    x: int
@dataclass(slots=True, frozen=True)
class Slots:
    x: int = 1
    def twice(self): return 2 * self.x
class Bare:
    __slots__ = ("x",)
class Flag(enum.IntFlag):
    A = 1
    def twice(self): return 2 * self
class Net(torch.nn.Module):
    def __init__(self): super().__init__(); self.inner = torch.nn.Linear(1, 1)
    def forward(self, x): return self.inner(x)
class Grad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x
    @staticmethod
    def backward(ctx, g): return 2 * g
class Failure(ValueError):
    pass
"""


@pytest.mark.parametrize("name", re.findall(r"class (\w+)", KINDS_OF_CLASSES))
def test_every_kind_of_class(package, name):
    found = {fingerprint(getattr(package(a=KINDS_OF_CLASSES), name)) for _ in range(2)}
    assert len(found) == 1
    changed = KINDS_OF_CLASSES.replace("2 *", "3 *").replace("x: int = 1", "x: int = 2").replace("return 1", "return 2")
    changed = changed.replace("fit(self, x): ...", "fit(self, y): ...").replace('("x",)', '("y",)')
    changed = changed.replace("self.inner(x)", "-self.inner(x)").replace("(ValueError)", "(TypeError)")
    if name != "Typed":  # nothing in it but annotations
        assert fingerprint(getattr(package(a=changed), name)) not in found


def test_numba_function_that_has_run():
    @numba.njit
    def f(x):
        return x + 1

    before = fingerprint(f)
    assert f(1) == 2 and fingerprint(f) == before


def test_threads_do_not_disturb_each_other():
    expected, found = fingerprint(Point), []
    threads = [threading.Thread(target=lambda: found.append(fingerprint(Point))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8
