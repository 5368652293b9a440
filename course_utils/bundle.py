"""Tensors and a description of them in one file that cannot run code and in which no damage goes unseen."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.errors import DataError
from course_utils.files import atomic_write

if TYPE_CHECKING:  # imported only where tensors are made: `course doctor` checks bundles where torch does not import
    from torch import Tensor

# A bundle is a safetensors file whose header begins with this; 64 digits follow. They are the SHA-256 of the whole
# file with zeros in their place, so they cover the header, the description and every tensor.
_START = b'{"__metadata__":{"course_utils.bundle":"{\\"sha256\\": \\"'
_DIGITS = slice(8 + len(_START), 8 + len(_START) + 64)
_ZEROS = b"0" * 64


def write_bundle(path: str | Path, tensors: Mapping[str, "Tensor"], info: dict[str, Any]) -> None:
    """Write ``tensors`` and ``info`` as one safetensors file, whole or not at all.

    Tensors come from any device and may be views of each other; they are stored apart, without gradients. ``info``
    holds what JSON holds (dictionaries with string keys, lists, strings, numbers with NaN and infinities, booleans,
    None); tuples come back as lists. Raises `DataError` for anything else.
    """
    import torch
    from safetensors.torch import save

    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; wanted the name of a file to write.")
    check_json(info, f"{path}: info")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise DataError(f"{path}: a tensor's name must be a string other than '__metadata__', got {name!r}.")
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise DataError(f"{path}: {name!r} must be a dense torch tensor, got {type(tensor).__name__}.")
    apart = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    description = json.dumps({"sha256": _ZEROS.decode(), "info": info})
    content = bytearray(save(apart, {"course_utils.bundle": description}))
    if not content.startswith(_START, 8):
        raise RuntimeError("This version of safetensors orders its header in a way that bundle.py does not know.")
    content[_DIGITS] = _digest(content)
    atomic_write(path, content, sync=True)


def read_bundle(path: str | Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """The tensors, on the CPU, and the description that `write_bundle` wrote.

    Raises `DataError` if the file is missing, was not written by `write_bundle`, or differs from what was written in
    a single byte.
    """
    from safetensors.torch import load

    content, header, info = _read(Path(path))
    tensors = load(content)
    return {name: tensors[name] for name in header}, info  # load() gives them in another order each time


def read_info(path: str | Path) -> dict[str, Any]:
    """The description alone; checks the whole file as `read_bundle` does, and needs no torch."""
    return _read(Path(path))[2]


def check_json(value: Any, place: str) -> None:
    """Raise `DataError` that names the place of anything that does not come back equal from JSON (tuples may)."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise DataError(f"{place} has the key {key!r}; keys must be strings, or they come back changed.")
            check_json(item, f"{place}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            check_json(item, f"{place}[{i}]")
    else:
        raise DataError(
            f"{place} is a {type(value).__module__}.{type(value).__qualname__}, which JSON does not hold; "
            "make it a number, string, list or dictionary (.item() or .tolist() does it for arrays)."
        )


def _digest(content: bytes | bytearray) -> bytes:
    view = memoryview(content)
    digest = hashlib.sha256(view[: _DIGITS.start])
    digest.update(_ZEROS)
    digest.update(view[_DIGITS.stop :])
    return digest.hexdigest().encode()


def _read(path: Path) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """The file, its header's entries of tensors, and the description."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not content.startswith(_START, 8):
        raise DataError(
            f"{path} is no file of tensors written by this course, or its beginning is damaged ({len(content)} bytes). "
            "Delete it, then make it again or take it from where it came from."
        )
    if content[_DIGITS] != _digest(content):
        raise DataError(
            f"{path} is damaged: its SHA-256 is not the one written in it. "
            "Delete it, then make it again or take it from where it came from."
        )
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return content, header, json.loads(header.pop("__metadata__")["course_utils.bundle"])["info"]
