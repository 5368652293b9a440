"""A bundle gives back what was put in, and not one damaged byte goes unseen."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from course_utils import files
from course_utils.bundle import read_bundle, read_info, write_bundle
from course_utils.errors import CourseError, DataError

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
]  # fmt: skip


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in type, shape and every bit, NaN included."""
    raw = [bytes(t.detach().clone(memory_format=torch.contiguous_format).untyped_storage()) for t in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and raw[0] == raw[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bundles")


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    dtype = draw(st.sampled_from(DTYPES))
    tensor = torch.empty(shape, dtype=dtype)
    if tensor.numel():
        rng = np.random.default_rng(draw(st.integers(0, 999)))
        raw = rng.integers(0, 2 if dtype == torch.bool else 256, tensor.numel() * dtype.itemsize, np.uint8)
        tensor = torch.frombuffer(raw, dtype=dtype).reshape(shape)
    if draw(st.booleans()) and tensor.ndim > 1:
        tensor = tensor.transpose(0, -1)
    if draw(st.booleans()) and tensor.ndim:
        tensor = tensor[::2]
    return tensor


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: name != "__metadata__")


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, tensors(), max_size=4), st.dictionaries(st.text(), JSON, max_size=4))
def test_round_trip(folder, given_tensors, info):
    write_bundle(folder / "x.safetensors", given_tensors, info)
    found, told = read_bundle(folder / "x.safetensors")
    assert told == info == read_info(folder / "x.safetensors")
    assert found.keys() == given_tensors.keys() and all(same(found[k], given_tensors[k]) for k in found)


def test_views_of_one_storage_come_back_apart(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    write_bundle(tmp_path / "x", {"all": base, "again": base, "row": base[1], "turned": base.T}, {})
    found, _ = read_bundle(tmp_path / "x")
    found["all"][:] = -1
    assert torch.equal(found["again"], base) and torch.equal(found["turned"], base.T)
    assert torch.equal(found["row"], base[1])


def test_parameters_come_back_as_plain_tensors(tmp_path):
    layer = torch.nn.Linear(3, 2)
    write_bundle(tmp_path / "x", layer.state_dict(keep_vars=True), {})
    found, _ = read_bundle(tmp_path / "x")
    assert same(found["weight"], layer.weight) and not found["weight"].requires_grad


def test_not_a_number_and_tuples_in_the_info(tmp_path):
    write_bundle(tmp_path / "x", {}, {"ap": float("nan"), "top": math.inf, "box": (1, 2)})
    info = read_info(tmp_path / "x")
    assert math.isnan(info["ap"]) and info["top"] == math.inf and info["box"] == [1, 2]


@pytest.mark.parametrize(
    ("info", "place"),
    [
        ({"a": {"b": [0, np.float32(1)]}}, r"info\['a'\]\['b'\]\[1\] is a numpy.float32"),
        ({"a": torch.tensor(1)}, r"info\['a'\] is a torch.Tensor"),
        ({"a": {1: 2}}, r"info\['a'\] has the key 1"),
        ({"a": {1, 2}}, r"info\['a'\] is a builtins.set"),
    ],
)
def test_info_that_json_does_not_hold(tmp_path, info, place):
    with pytest.raises(DataError, match=place):
        write_bundle(tmp_path / "x", {}, info)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"a": np.zeros(3)}, {1: torch.zeros(1)}, {"__metadata__": torch.zeros(1)}, {"a": torch.eye(2).to_sparse()}],
)
def test_what_is_no_named_tensor(tmp_path, wrong):
    with pytest.raises(DataError, match="must be a"):
        write_bundle(tmp_path / "x", wrong, {})


def damaged(path) -> None:
    """Both readers refuse the file in one line that names it and says what to do."""
    for read in (read_bundle, read_info):
        with pytest.raises(DataError) as caught:
            read(path)
        message = str(caught.value)
        assert str(path) in message and "Delete it, then make it again" in message and "\n" not in message


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "x.safetensors"
    write_bundle(path, {"a": torch.arange(5), "b": torch.rand(3)}, {"name": "mean_box", "ap": 0.5})
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for i in range(len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ int(rng.integers(1, 256))]) + content[i + 1 :])
        damaged(path)
    path.write_bytes(content)
    assert read_info(path)["ap"] == 0.5


def test_every_truncation_and_addition_is_noticed(tmp_path):
    path = tmp_path / "x.safetensors"
    write_bundle(path, {"a": torch.arange(5)}, {"name": "mean_box"})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        damaged(path)
    path.write_bytes(content + b"\0")
    damaged(path)


def test_files_of_other_programs(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(3)}, path, {"sha256": "0" * 64})
    damaged(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    damaged(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*none"):
        read_bundle(tmp_path / "none")
    with pytest.raises(CourseError, match="cannot be read"):
        read_bundle(tmp_path)


def test_bytes_depend_on_nothing_but_the_content(tmp_path):
    content = {name: torch.full((2,), float(i)) for i, name in enumerate("abcdefgh")}
    for name in ("x", "y"):
        write_bundle(tmp_path / name, content, {"b": 1, "a": 2})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert list(read_bundle(tmp_path / "x")[0]) == list("abcdefgh")


def test_any_reader_of_safetensors_reads_it(tmp_path):
    write_bundle(tmp_path / "x.safetensors", {"a": torch.arange(3)}, {"name": "mean_box"})
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("a"), torch.arange(3))
        assert json.loads(file.metadata()["course_utils.bundle"])["info"] == {"name": "mean_box"}


def test_info_is_read_without_torch(tmp_path):
    write_bundle(tmp_path / "x", {"a": torch.arange(3)}, {"n": 1})
    program = (
        "import sys; sys.modules['torch'] = None; from course_utils.bundle import read_info; "
        "import course_utils.store; print(read_info(sys.argv[1]))"
    )
    run = subprocess.run([sys.executable, "-c", program, tmp_path / "x"], capture_output=True, text=True)
    assert run.stdout == "{'n': 1}\n", run.stderr


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_bundle(tmp_path / "x", {}, {"n": 1})

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bundle(tmp_path / "x", {}, {"n": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and read_info(tmp_path / "x") == {"n": 1}


def test_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda handle, real=os.fsync: (order.append("fsync"), real(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b, real=os.replace: (order.append("replace"), real(a, b)))
    files.atomic_write(tmp_path / "new" / "y", b"abc")
    assert order == ["replace"]  # scenes by the thousand do not wait for the disk
    order.clear()
    write_bundle(tmp_path / "new" / "x", {}, {})
    assert order == ["fsync", "replace"] + ["fsync"] * (os.name == "posix")
    assert (tmp_path / "new" / "y").read_bytes() == b"abc"
