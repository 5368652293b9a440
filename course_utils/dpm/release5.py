"""The authors' own models: files of voc-release5 as mixtures of ours.

Girshick, Felzenszwalb, McAllester, "Discriminatively Trained Deformable Part Models, Release 5", 2012. A file holds one
struct ``model`` of MATLAB's version 5, which is a small grammar: the start symbol has one structural rule per component
that names a root, parts and anchors; each of these symbols has a deformation rule, which leads to a filter. All weights
stand in ``blocks``. Indices count from 1.
"""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import mat_struct

from course_utils.dpm.model import OCTAVES, Component, Mixture
from course_utils.errors import DataError
from course_utils.fhog import CELL, CHANNELS, flip_features

OWN_NAMES = {"inriaperson": "person"}  # classes that VOC calls otherwise
COMPRESSED = 15  # kind of a variable in a .mat file


def read_release5(path: str | Path) -> tuple[str, Mixture]:
    """Class name and mixture from a ``.mat`` file of release 5: star models with parts at twice the root's resolution.

    What the authors write in another way is changed here. Filters that they flip when they use them become filters of
    their own. Their deformations are (dx2, dx, dy2, dy) of anchor minus part, ours (dx, dy, dx2, dy2) of part minus
    anchor. Their bias is to be multiplied by its feature. Their biases of octaves begin with the octave that is only
    for parts. INRIA's model has one more octave, for objects of half the size, which is left out.

    Raises `DataError` that names the file and what is missing or wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not there; wanted a model of voc-release5, for example person_final.mat.")
    content = path.read_bytes()
    try:
        _check_compressed(content)
        variables = loadmat(BytesIO(content), squeeze_me=True, struct_as_record=False, variable_names=["model"])
    except Exception as error:  # scipy has no error of its own for odd files, and raises what it stumbles over
        raise DataError(f"{path} is no .mat file of MATLAB version 7 (-v7), or damaged ({error}).") from error
    try:
        return _read_model(_Struct(variables.get("model"), "model"))
    except DataError as error:
        raise DataError(f"{path} is no part model of voc-release5: {str(error).rstrip('.')}.") from error


def _check_compressed(content: bytes) -> None:
    """Raise unless all variables of a .mat file are compressed.

    MATLAB compresses unless told otherwise, and compression notices damage. `loadmat` alone does not: on a damaged file
    without it Python may crash.
    """
    place = 128  # the header before ends with the order of bytes
    if content[126:128] != b"IM":
        raise DataError("it does not begin as one")
    while place < len(content):
        kind, length = struct.unpack_from("<II", content, place)
        if kind != COMPRESSED:
            raise DataError("it is not compressed")
        place += 8 + length


class _Struct:
    """A MATLAB struct, and how it is called in messages."""

    def __init__(self, value: Any, name: str) -> None:
        if not isinstance(value, mat_struct):
            raise DataError(f"{name} should be a struct")
        self.fields, self.name = vars(value), name

    def get(self, field: str) -> Any:
        """A field as scipy reads it."""
        if field not in self.fields:
            raise DataError(f"{self.name}.{field} is missing")
        return self.fields[field]

    def struct(self, field: str) -> "_Struct":
        return _Struct(self.get(field), f"{self.name}.{field}")

    def cells(self, field: str) -> list:
        """Elements of a cell or struct array; if there is one only, scipy gives it without its array."""
        value = self.get(field)
        return list(value.ravel()) if isinstance(value, np.ndarray) and value.dtype == object else [value]

    def numbers(self, field: str, count: int | None = None) -> np.ndarray:
        """Float64 ``(count,)``, or of any length, column by column."""
        return _numbers(self.get(field), f"{self.name}.{field}", count)

    def number(self, field: str) -> float:
        return self.numbers(field, 1).item()


def _numbers(value: Any, name: str, count: int | None) -> np.ndarray:
    values = np.asarray(value)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise DataError(f"{name} should hold finite numbers")
    if count is not None and values.size != count:
        raise DataError(f"{name} should hold {count} number{'' if count == 1 else 's'}, not {values.size}")
    return values.astype(np.float64).ravel(order="F")


def _element(there: list, index: float, name: str) -> Any:
    """What an index from the file means."""
    if index not in range(1, len(there) + 1):
        raise DataError(f"{name} should be a whole number from 1 to {len(there)}, not {index:g}")
    return there[int(index) - 1]


def _read_model(model: _Struct) -> tuple[str, Mixture]:
    name, interval = model.get("class"), model.number("interval")
    if not isinstance(name, str) or not name:
        raise DataError("model.class should be a name")
    if interval < 1 or interval % 1:
        raise DataError(f"model.interval should be a whole number from 1, not {interval:g}")
    for field, wanted in (("sbin", CELL), ("dim", CHANNELS)):
        if model.struct("features").number(field) != wanted:
            raise DataError(f"model.features.{field} should be {wanted}")
    start = np.atleast_1d(_element(model.cells("rules"), model.number("start"), "model.start"))
    if not start.size:
        raise DataError("the start symbol should have a rule for each component")
    components = [_read_component(model, _Struct(rule, f"rule {k} of the start"), k) for k, rule in enumerate(start, 1)]
    return OWN_NAMES.get(name, name), Mixture(tuple(components), model.number("thresh"), int(interval))


def _read_component(model: _Struct, rule: _Struct, k: int) -> Component:
    """Component k, counted from 1, by its structural rule."""
    features, symbols = model.struct("features"), rule.numbers("rhs")
    anchors = [_numbers(anchor, f"an anchor of {rule.name}", 3) for anchor in rule.cells("anchor")]
    if not len(symbols) or len(anchors) != len(symbols):
        raise DataError(f"{rule.name} has {len(symbols)} symbols and {len(anchors)} anchors")
    if anchors[0].any() or any(octave != 1 for _, _, octave in anchors[1:]):
        raise DataError(f"{rule.name} should have a root, anchored at 0, 0, 0, and parts one octave finer")
    found = [_read_filter(model, symbol) for symbol in symbols]
    parts = [filter for filter, _ in found[1:]]
    if len({part.shape for part in parts}) > 1:
        raise DataError(f"the parts of {rule.name} should be of one size")
    octaves = _block(model, rule.struct("loc"), OCTAVES)
    skipped = 1 + int(features.number("extra_octave"))  # octaves before that of our first roots
    n = len(parts)
    return Component(
        root=found[0][0],
        parts=np.stack(parts) if n else np.zeros((0, 6, 6, CHANNELS), np.float32),
        anchors=np.array([anchor[:2] for anchor in anchors[1:]], np.int64).reshape(n, 2),
        deformations=np.array([deformation for _, deformation in found[1:]], np.float32).reshape(n, 4),
        bias=_block(model, rule.struct("offset"), 1).item() * features.number("bias"),
        level_bias=octaves[np.minimum(np.arange(OCTAVES) + skipped, OCTAVES - 1)].astype(np.float32),
        box_predictor=_read_box_predictor(model, k, n),
    )


def _read_filter(model: _Struct, symbol: float) -> tuple[np.ndarray, np.ndarray]:
    """Filter ``(h, w, 32)`` and deformation ``(4,)``, in our order and sign, of a symbol with a deformation rule."""
    rule = _Struct(_element(model.cells("rules"), symbol, "a symbol of a component"), f"rule of symbol {symbol:g}")
    terminal = _element(model.cells("symbols"), rule.number("rhs"), f"{rule.name}.rhs")
    terminal = _Struct(terminal, f"the symbol in {rule.name}")
    filter = _element(model.cells("filters"), terminal.number("filter"), f"{terminal.name}.filter")
    filter = _Struct(filter, f"the filter of {terminal.name}")
    shape = _block_struct(model, filter).numbers("shape", 3).astype(int)
    if min(shape) < 1 or shape[2] != CHANNELS:
        raise DataError(f"{filter.name} should have rows, columns and {CHANNELS} channels, not {tuple(shape.tolist())}")
    weights = _block(model, filter, shape.prod()).reshape(shape, order="F").astype(np.float32)
    dx2, dx, dy2, dy = _block(model, rule.struct("def"), 4)
    if rule.struct("def").number("flip"):
        dx = -dx
    return flip_features(weights) if filter.number("flip") else weights, np.array([-dx, -dy, dx2, dy2])


def _block_struct(model: _Struct, pointer: _Struct) -> _Struct:
    label = pointer.number("blocklabel")
    return _Struct(_element(model.cells("blocks"), label, f"{pointer.name}.blocklabel"), f"block {label:g}")


def _block(model: _Struct, pointer: _Struct, count: int) -> np.ndarray:
    """The weights ``(count,)`` that a struct with a field ``blocklabel`` points to."""
    return _block_struct(model, pointer).numbers("w", count)


def _read_box_predictor(model: _Struct, k: int, n: int) -> np.ndarray | None:
    """Coefficients ``(2n + 3, 4)`` for component k, if the file has any."""
    if "bboxpred" not in model.fields:
        return None
    predictor = _element(model.cells("bboxpred"), k, "component of model.bboxpred")
    predictor = _Struct(predictor, f"model.bboxpred({k})")
    return np.stack([predictor.numbers(side, 2 * n + 3) for side in ("x1", "y1", "x2", "y2")], axis=1).astype("f4")
