"""The store loses nothing, gives nothing stale or damaged, and lets processes neither collide nor wait for the dead."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from course_utils.errors import CourseError, DataError
from course_utils.store import Entry, Store, key_of

BEGIN = "import os, sys, time, torch\nfrom course_utils.store import Store\nstore = Store(sys.argv[1])\n"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def start(store):
    """Start a Python program on the store, and wait for the line ``ready``; all are killed in the end."""
    running = []

    def run(program: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + program, store.folder], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


def result(k: float = 1.0, n: int = 3):
    return {"x": torch.full((n,), float(k))}, {"k": k}


def must_not_run():
    raise AssertionError("made again")


def visible(store):
    return [path for path in store.folder.rglob("*.safetensors") if not path.name.startswith(".")]


def leftovers(store):
    return list(store.folder.rglob(".*.safetensors.*"))


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)


def finished_within(seconds: float, work) -> bool:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def test_made_once_and_found_again(store):
    tensors, info = store.keep("features", "abc", lambda: ({"x": torch.eye(2, requires_grad=True).T}, {"box": (1, 2)}))
    again, info_again = Store(store.folder).keep("features", "abc", must_not_run)
    assert torch.equal(tensors["x"], again["x"]) and info == info_again == {"box": [1, 2]}
    assert not tensors["x"].requires_grad  # the first run gets what later runs get
    assert store.read("features", "abd") is None and store.read("other", "abc") is None


def test_write_replaces(store):
    store.write("features", "abc", *result(1))
    store.write("features", "abc", *result(2))
    assert store.read("features", "abc")[1] == {"k": 2}
    assert len(visible(store)) == 1


def test_entries(store):
    for kind, key in [("rows", "b"), ("rows", "a"), ("features", "c")]:
        store.write(kind, key, *result())
    store.journal("rows", "d").append(*result())
    found = list(store.entries())
    assert [(e.kind, e.key) for e in found] == [("features", "c"), ("rows", "a"), ("rows", "b")]
    path = store.folder / "rows" / "a.safetensors"
    assert found[1] == Entry("rows", "a", path, path.stat().st_size, {"k": 1.0})
    assert [e.key for e in store.entries("rows")] == ["a", "b"]
    assert list(store.entries("none")) == [] == list(Store(store.folder / "none").entries())


def test_nothing_stays_when_making_fails(store):
    def broken():
        raise ZeroDivisionError("in the middle")

    with pytest.raises(ZeroDivisionError, match="in the middle"):
        store.keep("features", "abc", broken)
    with pytest.raises(DataError, match=r"info\['x'\] is a builtins.set"):
        store.keep("features", "abc", lambda: ({}, {"x": {1}}))
    assert visible(store) == leftovers(store) == []
    assert store.keep("features", "abc", result)[1] == {"k": 1.0}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "../x", ".hidden", "a b", "a\n", "ä", "a:b"])
def test_names_that_are_none(store, name):
    for kind, key in [(name, "abc"), ("features", name)]:
        for call in (store.read, store.journal, lambda k, n: store.keep(k, n, result)):
            with pytest.raises(CourseError, match="letters, digits and"):
                call(kind, key)
    assert not store.folder.exists()


@pytest.mark.parametrize("kind", ["locks", "partial"])
def test_the_stores_own_folders_are_no_kinds(store, kind):
    with pytest.raises(CourseError, match="uses the name"):
        store.write(kind, "abc", *result())


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "foreign"])
def test_damaged_entry_is_named_removed_and_made_again(store, damage, capsys):
    store.write("features", "abc", *result(1))
    store.write("features", "abd", *result(1))
    path = store.folder / "features" / "abc.safetensors"
    content = path.read_bytes()
    flipped = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
    path.write_bytes({"flipped": flipped, "cut": content[:-1], "empty": b"", "foreign": b"hello " * 50}[damage])
    assert [e.key for e in store.entries()] == ["abd"]
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and str(path) in said.err and said.out == ""
    assert store.keep("features", "abc", lambda: result(2))[1] == {"k": 2}
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and f"{path} is damaged and was removed" in said.err
    path.write_bytes(content[:-1])
    assert store.read("features", "abc") is None and not path.exists()


def test_foreign_folder_is_neither_written_to_nor_emptied(tmp_path):
    mine = tmp_path / "models" / "net.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"years of work")
    store = Store(tmp_path)
    for call in (store.clear, lambda: store.write("models", "net", *result()), lambda: store.keep("a", "b", result)):
        with pytest.raises(CourseError, match=r"holds other files .* COURSE_STORE"):
            call()
    assert mine.read_bytes() == b"years of work" and [p.name for p in tmp_path.iterdir()] == ["models"]


def test_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_STORE", str(tmp_path / "elsewhere"))
    Store().write("rows", "a", *result())
    assert (tmp_path / "elsewhere" / "rows" / "a.safetensors").is_file()


def test_clear(store):
    for kind, key in [("rows", "a"), ("rows", "b"), ("features", "c")]:
        store.write(kind, key, *result())
    store.journal("features", "d").append(*result())
    (store.folder / "features" / ".e.safetensors.abcd1234").write_bytes(b"half")
    assert store.clear("rows") == 2 and store.read("features", "c")
    assert list(store.unfinished()) == [("features", "d", 1)] and len(leftovers(store)) == 1
    assert store.clear() == 1 and store.clear() == 0
    assert visible(store) == leftovers(store) == list(store.unfinished()) == []
    assert Store(store.folder / "none").clear() == 0
    assert store.keep("rows", "a", result)[1] == {"k": 1.0}


# Big results, one after another, over three keys; each holds its own number everywhere.
WRITER = """
print("ready", flush=True)
k = 0
while True:
    k += 1
    store.write("features", f"key{k % 3}", {"x": torch.full((1_000_000,), float(k))}, {"k": k})
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_a_random_instant_while_writing(store, start, seed):
    process = start(WRITER)
    deadline = time.monotonic() + 60
    while not visible(store) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.Random(time.time_ns() + seed).uniform(0, 0.3))
    kill(process)
    files = visible(store)
    found = list(store.entries())
    assert files and len(found) == len(files)
    for entry in found:
        tensors, info = store.read(entry.kind, entry.key)
        assert info == entry.info and tensors["x"].shape == (1_000_000,) and bool((tensors["x"] == info["k"]).all())
    for key in ("key0", "key1", "key2"):
        store.write("features", key, *result(7))
        assert store.read("features", key)[1] == {"k": 7}
    assert leftovers(store) == []  # the writer's temporary file went with the next result of its key


def test_killed_between_the_last_byte_and_the_name(store, start):
    store.write("features", "abc", *result(1))
    process = start(
        "os.replace = lambda a, b: (print('ready', flush=True), time.sleep(60))\n"
        "store.write('features', 'abc', {'x': torch.zeros(3)}, {'k': 2})"
    )
    kill(process)
    assert len(leftovers(store)) == 1
    assert [e.info for e in store.entries()] == [{"k": 1}] and store.read("features", "abc")[1] == {"k": 1}
    store.write("features", "abd", *result(3))
    assert len(leftovers(store)) == 1  # another key's
    store.write("features", "abc", *result(3))
    assert leftovers(store) == [] and store.read("features", "abc")[1] == {"k": 3}


KEEP = """
def make():
    with open(os.path.join(sys.argv[1] + "-made"), "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(1)
    return {"x": torch.tensor([float(os.getpid())])}, {"pid": os.getpid()}

print("ready", flush=True)
while not os.path.exists(sys.argv[1] + "-go"):
    time.sleep(0.001)
tensors, info = store.keep("features", "abc", make)
print(info["pid"], int(tensors["x"]))
"""


def test_two_processes_at_once_make_it_once(store, start):
    processes = [start(KEEP), start(KEEP)]
    Path(f"{store.folder}-go").touch()
    told = [process.communicate(timeout=60)[0] for process in processes]
    makers = Path(f"{store.folder}-made").read_text().split()
    assert len(makers) == 1 and told == [f"{makers[0]} {makers[0]}\n"] * 2
    assert [process.returncode for process in processes] == [0, 0]


def test_two_writers_of_one_key_leave_one_whole_result(store, start):
    program = """
print("ready", flush=True)
for k in range(30):
    store.write("features", "abc", {"x": torch.full((200_000,), float(os.getpid()))}, {"k": os.getpid()})
"""
    processes, seen = [start(program), start(program)], set()
    while any(process.poll() is None for process in processes):
        found = store.read("features", "abc")
        if found:
            assert bool((found[0]["x"] == found[1]["k"]).all())
            seen.add(found[1]["k"])
    assert [process.returncode for process in processes] == [0, 0]
    assert seen <= {process.pid for process in processes} and len(visible(store)) == 1 and leftovers(store) == []


HOLDER = """
def make():
    store.journal("features", "abc").append({"x": torch.zeros(1)}, {"part": 0})
    print("ready", flush=True)
    time.sleep(60)

store.keep("features", "abc", make)
"""


def test_dead_holder_of_a_lock_blocks_nobody(store, start):
    process = start(HOLDER)
    waited = []
    assert not finished_within(0.5, lambda: waited.append(store.keep("features", "abc", lambda: result(5))))
    kill(process)
    deadline = time.monotonic() + 30
    while not waited and time.monotonic() < deadline:
        time.sleep(0.01)
    assert waited[0][1] == {"k": 5}
    assert list(store.unfinished()) == []


def test_clear_leaves_what_another_process_works_on(store, start):
    store.write("features", "abd", *result())
    process = start(HOLDER)
    assert store.clear() == 1
    assert list(store.unfinished()) == [("features", "abc", 1)]
    kill(process)
    assert store.clear() == 0 and list(store.unfinished()) == []


def test_reading_does_not_wait_for_a_lock(store, start):
    start(HOLDER)
    assert finished_within(20, lambda: store.read("features", "abc"))
    path = store.folder / "features" / "abc.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"damaged")
    found = ["nothing yet"]
    assert finished_within(20, lambda: found.append(store.read("features", "abc"))) and found[-1] is None


def test_threads_of_one_process_make_it_once(store):
    made, found = [], []

    def make():
        made.append(1)
        time.sleep(0.2)
        return result()

    threads = [threading.Thread(target=lambda: found.append(store.keep("a", "b", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == 1 and len(found) == 4


def test_one_result_may_be_made_from_another(store):
    def outer():
        tensors, info = store.keep("features", "inner", result)
        return tensors, info | {"outer": True}

    assert store.keep("features", "outer", outer)[1] == {"k": 1.0, "outer": True}


def numbers(journal):
    return [info["part"] for _, info in journal.parts()]


def test_journal(store):
    journal = store.journal("features", "abc")
    assert journal.parts() == []
    for part in range(3):
        journal.append({"x": torch.full((2,), float(part))}, {"part": part})
    again = store.journal("features", "abc")
    assert [float(tensors["x"][0]) for tensors, _ in again.parts()] == [0, 1, 2]
    store.journal("features", "abc").append({}, {"part": 3})  # without asking for the parts first
    assert numbers(store.journal("features", "abc")) == [0, 1, 2, 3]
    assert list(store.entries()) == [] and list(store.unfinished()) == [("features", "abc", 4)]
    assert numbers(store.journal("features", "ab")) == numbers(store.journal("feature", "abc")) == []
    again.clear()
    assert numbers(again) == []
    again.append({}, {"part": 0})
    assert numbers(store.journal("features", "abc")) == [0]


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
@pytest.mark.parametrize("at", [0, 2, 3])
def test_journal_drops_what_is_damaged_and_all_behind_it(store, damage, at, capsys):
    journal = store.journal("features", "abc")
    for part in range(4):
        journal.append({}, {"part": part})
    path = store.folder / "partial" / "features" / "abc" / f"{at:06d}.safetensors"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    again = store.journal("features", "abc")
    assert numbers(again) == list(range(at))
    assert (str(path) in capsys.readouterr().err) == (damage != "missing")
    again.append({}, {"part": 10})
    assert numbers(store.journal("features", "abc")) == [*range(at), 10]


def test_two_at_one_journal_is_an_error(store):
    one, two = store.journal("features", "abc"), store.journal("features", "abc")
    one.parts(), two.parts()
    one.append({}, {"part": 0})
    with pytest.raises(CourseError, match="another process does the same work"):
        two.append({}, {"part": 0})


JOURNAL = """
def make():
    journal = store.journal("features", "abc")
    first = len(journal.parts())
    for part in range(first, 1000):
        journal.append({"x": torch.full((300_000,), float(part))}, {"part": part, "first": first})
        if part == first:
            print("ready", flush=True)
    return {}, {}

store.keep("features", "abc", make)
"""


def test_work_killed_three_times_is_taken_up_where_it_stood(store, start):
    done = 0
    for seed in range(3):
        process = start(JOURNAL)
        time.sleep(random.Random(time.time_ns() + seed).uniform(0, 0.2))
        kill(process)
        parts = store.journal("features", "abc").parts()
        assert len(parts) > done
        assert parts[done][1]["first"] == done and all(bool((t["x"] == i["part"]).all()) for t, i in parts)
        done = len(parts)
    assert numbers(store.journal("features", "abc")) == list(range(done))


def test_journal_goes_when_the_result_stands(store):
    def make():
        store.journal("features", "abc").append({}, {})
        return result()

    store.keep("features", "abc", make)
    assert list(store.unfinished()) == [] and not list((store.folder / "partial").rglob("*.safetensors"))


def one(x):
    return x


def other(x):
    return -x


def test_keys():
    base = dict(code=(one,), config={"k": 1, "deep": {"a": [1, 2], "b": None}}, data="d", seed=3)
    key = key_of(**base)
    assert len(key) == 64 and set(key) <= set("0123456789abcdef")
    assert key == key_of(**base | {"config": {"deep": {"b": None, "a": (1, 2)}, "k": 1}})
    changes = [
        {"code": (other,)}, {"code": (one, other)}, {"code": ()}, {"config": {"k": 1}}, {"config": None},
        {"config": base["config"] | {"k": 1.0}}, {"config": base["config"] | {"k": True}}, {"data": "e"},
        {"data": ""}, {"seed": 4}, {"seed": None},
    ]  # fmt: skip
    assert len({key, *(key_of(**base | change) for change in changes)}) == 1 + len(changes)


def test_configuration_that_json_does_not_hold():
    with pytest.raises(DataError, match=r"key_of\(\)\['config'\]\['scale'\] is a torch.Tensor"):
        key_of(config={"scale": torch.tensor(1.0)})


def test_changed_function_misses_and_unchanged_one_hits(store, tmp_path):
    """The whole way in processes of their own, as two runs of a notebook have it."""
    module, made = tmp_path / "mine.py", tmp_path / "made"
    program = (
        BEGIN
        + """
sys.path.insert(0, sys.argv[2])
import mine
from course_utils.store import key_of

def make():
    open(sys.argv[2] + "/made", "a").write("x")
    return {"x": torch.tensor(mine.f(2.0))}, {}

print(float(store.keep("f", key_of((mine.f,)), make)[0]["x"]))
"""
    )

    def run(source):
        module.write_text(source)
        command = [sys.executable, "-B", "-c", program, store.folder, tmp_path]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    source = "def g(x):\n    return x + 1\n\ndef f(x):\n    return 2 * g(x)\n"
    assert run(source) == 6 and run(source) == 6 and made.read_text() == "x"
    assert run(source.replace("x + 1", "x  +  1  # a remark")) == 6 and made.read_text() == "x"
    assert run(source.replace("x + 1", "x + 3")) == 10 and made.read_text() == "xx"
    assert run(source) == 6 and made.read_text() == "xx"


def test_a_store_that_two_processes_begin_at_the_same_instant(store, monkeypatch):
    """The folder is looked at between another process's first two files."""
    real = Path.iterdir

    def meanwhile(path):
        if path == store.folder and not (path / "CACHEDIR.TAG").exists():
            monkeypatch.setattr(Path, "iterdir", real)
            Store(path).write("features", "abc", *result(2))
        return real(path)

    store.folder.mkdir()
    monkeypatch.setattr(Path, "iterdir", meanwhile)
    store.write("features", "abd", *result(1))
    assert {e.key for e in store.entries()} == {"abc", "abd"}


def test_what_the_store_writes_is_for_all_to_read(store):
    store.write("features", "abc", *result())
    if os.name == "posix":
        assert {oct(path.stat().st_mode & 0o777) for path in visible(store)} == {"0o644"}
    assert json.loads(json.dumps(store.read("features", "abc")[1])) == {"k": 1.0}


def test_who_waits_for_another_process_is_told(tmp_path, capsys):
    store = Store(tmp_path / "store")
    store.write("rows", "k", {}, {"made by": "the first"})
    store.clear()
    path = tmp_path / "store" / "locks" / "rows" / "k.lock"
    code = (
        "import sys, time\nfrom filelock import FileLock\nlock = FileLock(sys.argv[1])\nlock.acquire()\n"
        "print('held', flush=True)\ntime.sleep(2)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    _, info = store.keep("rows", "k", lambda: ({}, {"made by": "the second"}))
    assert info == {"made by": "the second"}
    assert "another process is making rows/k; waiting for it" in capsys.readouterr().err
    holder.wait()
