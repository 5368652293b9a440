"""A small file as voc-release5 writes them: one root, two parts, and the mirror image that shares their weights."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

ANCHORS = [(0, 0, 0), (2, 1, 1), (4, 0, 1)]


def cell(values: list) -> np.ndarray:
    out = np.empty(len(values), object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def small_model(seed: int = 0) -> dict:
    """The struct ``model`` with random weights; blocks 1-3: filters, 4-5: springs, 6: bias, 7: octaves, 8: rigid."""
    rng = np.random.default_rng(seed)
    shapes = [(3, 4, 32), (3, 3, 32), (3, 3, 32)]
    blocks = [{"w": rng.normal(size=int(np.prod(s))), "shape": np.array(s, np.uint8), "type": "F"} for s in shapes]
    blocks += [{"w": rng.uniform(0.1, 1, 4), "shape": np.array([1, 4]), "type": "D"} for _ in range(2)]
    blocks += [{"w": -0.4, "shape": np.array([1, 1]), "type": "O"}]
    blocks += [{"w": np.array([0, -0.1, 0.25]), "shape": np.array([1, 3]), "type": "O"}]
    blocks += [{"w": np.array([1000, 0, 1000, 0]), "shape": np.array([1, 4]), "type": "D"}]
    filters, symbols, rules, start = [], [{"type": "N", "filter": np.zeros(0)}], [[]], []
    for flip in (0, 1):
        rhs = []
        for i in range(3):
            filters.append({"blocklabel": i + 1, "flip": flip})
            symbols += [{"type": "T", "filter": len(filters)}, {"type": "N", "filter": np.zeros(0)}]
            rules += [np.zeros(0), {
                "type": "D", "rhs": len(symbols) - 1, "def": {"blocklabel": [8, 4, 5][i], "flip": flip},
            }]  # fmt: skip
            rhs.append(len(symbols))
        anchors = [(8 - 3 - x if flip and scale else x, y, scale) for x, y, scale in ANCHORS]
        start.append({
            "type": "S", "rhs": np.array(rhs), "anchor": cell([np.array(a) for a in anchors]),
            "offset": {"blocklabel": 6}, "loc": {"blocklabel": 7},
        })  # fmt: skip
    rules[0] = cell(start)
    return {
        "class": "cat", "filters": cell(filters), "rules": cell(rules), "symbols": cell(symbols), "start": 1,
        "interval": 10, "thresh": -0.8, "blocks": cell(blocks),
        "features": {"sbin": 8, "dim": 32, "bias": 10, "extra_octave": 0},
        "bboxpred": cell([{side: rng.normal(size=7) for side in ("x1", "y1", "x2", "y2")} for _ in range(2)]),
    }  # fmt: skip


def write_model(path: Path, model: dict, name: str = "model") -> Path:
    savemat(path, {name: model}, do_compression=True)
    return path
