"""Exercises of notebook 02: counting windows, a cell's votes, four rulers, boxes of windows, misses at equal FPPW."""

import numpy as np
import torch

from course_utils.hog import window_boxes
from course_utils.notebook.exercises import Exercise, Mistake

NOTHING = "It returns None: is the return missing?"


def _check_count_windows(count_windows):
    found = count_windows(80, 80, 80, 8)
    if found is None:
        return NOTHING
    if found == 0:
        return "A picture of 80 x 80 holds one window of 80 px: count the first position too, (80 - 80) // stride + 1."
    if found != 1:
        return f"A picture of 80 x 80 holds exactly one window of 80 px; you count {found}."
    cases = (
        ((96, 80, 80, 8), 3, "96 x 80: the window starts at row 0, 8 and 16, so there are 3"),
        ((80, 95, 80, 8), 2, "80 x 95: the window starts at column 0 and 8 (16 would reach beyond), so there are 2"),
        ((100, 120, 80, 1), 21 * 41, "100 x 120, stride 1: 21 rows times 41 columns"),
        ((79, 200, 80, 8), 0, "A picture of 79 x 200 holds no window of 80 px: 0"),
        ((60, 60, 80, 8), 0, "60 x 60 holds no window of 80 px, so 0; beware of the product of two negative numbers"),
        (
            (100, 120, 80, 3),
            7 * 14,
            "100 x 120, stride 3: 7 rows times 14 columns; round each down before you multiply",
        ),
    )
    for arguments, right, why in cases:
        found = count_windows(*arguments)
        if found != right:
            return f"{why}; you count {found}."


def _check_cell_histogram(cell_histogram):
    magnitude, angle = np.zeros((8, 8)), np.zeros((8, 8))
    magnitude[0, :3], angle[0, :3] = (2.0, 3.0, 5.0), (10.0, 10.0, 90.0)
    found = cell_histogram(magnitude, angle)
    if found is None:
        return NOTHING
    found = np.asarray(found)
    if found.shape != (9,):
        return f"Nine bins are wanted, shape (9,); yours is {found.shape}."
    if np.allclose(64 * found, [5, 0, 0, 0, 5, 0, 0, 0, 0]):
        return "Add the votes up; do not average them over the 64 pixels."
    if found[0] == 0 and found[4] == 5:
        return "Several pixels vote for bin 0: `+=` on a list of indices adds only one of them. Sum bin by bin."
    if found[0] == 63 or found[0] == 2:
        return "Each pixel votes with its magnitude: a flat pixel adds nothing, a strong one much."
    if not np.allclose(found, [5, 0, 0, 0, 5, 0, 0, 0, 0]):
        return f"Votes of 2 and 3 at 10° and of 5 at 90° give 5 in bin 0 and 5 in bin 4; yours is {found.round(2)}."
    angle[0, :3] = (-170.0, 190.0, 350.0)
    try:
        found = np.asarray(cell_histogram(magnitude, angle))
    except (IndexError, ValueError):
        found = np.full(9, np.nan)
    if not np.allclose(found, [5, 0, 0, 0, 0, 0, 0, 0, 5]):
        return "-170° and 190° are the same edge as 10°, and 350° is 170°: take the angle modulo 180 first."
    rng = np.random.default_rng(0)
    magnitude, angle = rng.random((8, 8)), rng.uniform(-180, 180, (8, 8))
    if not np.allclose(cell_histogram(magnitude, angle), _histogram(magnitude, angle)):
        return "On random pixels some votes go elsewhere: bin k holds angles from 20 k up to, not including, 20 k + 20."


def _histogram(magnitude, angle):
    return np.bincount((angle % 180 // 20).astype(int).ravel(), magnitude.ravel(), minlength=9)


def _check_boxes_of_places(boxes_of_places):
    rows, columns = np.array([6, 0, 3]), np.array([10, 2, 0])
    found = boxes_of_places(rows, columns, (1.0, 1.0))
    if found is None:
        return NOTHING
    if not isinstance(found, torch.Tensor):
        return f"Give back a tensor, as the function did at first; yours is of type {type(found).__name__}."
    if not torch.allclose(found.double(), window_boxes(rows, columns, (9, 9), (1.0, 1.0)).double()):
        return "On level 0 it was right, and now it is not: row 6, column 10 is the box 80 48 160 128."
    for scale in ((1.5, 1.5), (1.25, 2.0)):
        found, right = boxes_of_places(rows, columns, scale), window_boxes(rows, columns, (9, 9), scale)
        if torch.allclose(found.double(), right.double(), atol=1e-3):
            continue
        sizes = (found[:, 2:] - found[:, :2]).double()
        if torch.allclose(sizes, torch.full_like(sizes, 80)):
            return (
                "Every box is 80 px wide, whatever the level. A window on a small level covers more of the photograph."
            )
        if torch.allclose(sizes, 80 / torch.tensor(scale, dtype=torch.float64).expand_as(sizes)):
            return "You divide where you must multiply: the level is smaller than the photograph."
        if torch.allclose(found[:, [1, 0, 3, 2]].double(), window_boxes(columns, rows, (9, 9), scale).double()):
            return "x goes with sx, y with sy; on a level whose two scales differ you mix them."
        return f"At scale {scale} row 6, column 10 is the box {right[0].tolist()}; yours is {found[0].tolist()}."


def _check_miss_at(miss_at):
    others = 4 * (np.arange(1000) / 1000) ** 3 - 1  # not evenly spread; the ten highest: 2.88 to 2.99
    faces = np.array([0.5, 2.0, 2.9, 3.5])
    found = miss_at(faces, others, 0.01)
    if found is None:
        return NOTHING
    if np.isclose(found, 0):
        return "Your threshold lets nearly everything through: at FPPW .01 only the 10 highest of 1,000 may pass."
    if not np.isclose(found, 0.5):
        return (
            "The threshold is one of the other windows' own scores, so count: FPPW .01 of 1,000 windows are 10 false "
            f"positives; two of the four faces lie below the threshold: .5, not {found:.3f}."
        )
    found = miss_at(np.array([0.2, 2.0, 2.0]), others[::-1], 0.1)
    if np.isclose(found, 2 / 3):
        return "That is the share that is found. The miss rate is the rest."
    if not np.isclose(found, 1 / 3):
        return "One of three faces scores .2, and 100 of 1,000 windows score 1.9 or more: 1/3 is missed. Did you sort?"
    found = miss_at(np.array([others[989], 3.0]), others, 0.01)
    if not np.isclose(found, 0.5):
        return "A face whose score equals the threshold is missed: at or below counts, so `<=`."


EXERCISES = (
    Exercise(
        "02.count_windows",
        "How many square windows of side `window` fit into height x width pixels, at every stride-th pixel? "
        "0 if the window is larger than the picture.",
        stub="""
             def count_windows(height, width, window, stride):
                 raise NotImplementedError
             """,
        solution="""
             def count_windows(height, width, window, stride):
                 if min(height, width) < window:
                     return 0
                 rows = (height - window) // stride + 1
                 columns = (width - window) // stride + 1
                 return rows * columns
             """,
        check=_check_count_windows,
        mistakes=(
            Mistake(
                "def count_windows(height, width, window, stride):\n"
                "    return ((height - window) // stride) * ((width - window) // stride)",
                "count the first position too",
            ),
            Mistake(
                "def count_windows(height, width, window, stride):\n"
                "    return ((height - window) // stride + 1) * ((height - window) // stride + 1)",
                "so there are 3",
            ),
            Mistake(
                "def count_windows(height, width, window, stride):\n"
                "    return max(1, (height - window) // stride + 1) * max(1, (width - window) // stride + 1)",
                "holds no window",
            ),
            Mistake(
                "def count_windows(height, width, window, stride):\n"
                "    return ((height - window) // stride + 1) * ((width - window) // stride + 1)",
                "two negative numbers",
            ),
            Mistake(
                "def count_windows(height, width, window, stride):\n"
                "    if min(height, width) < window:\n        return 0\n"
                "    return int(((height - window) / stride + 1) * ((width - window) / stride + 1))",
                "round each down",
            ),
        ),
    ),
    Exercise(
        "02.cell_histogram",
        "The histogram of one cell, 9 numbers: bin k sums the magnitudes of the pixels whose angle, modulo 180, "
        "lies in 20 k up to 20 k + 20. magnitude and angle (degrees, any sign) are (8, 8).",
        stub="""
             def cell_histogram(magnitude, angle):
                 raise NotImplementedError
             """,
        solution="""
             def cell_histogram(magnitude, angle):
                 bins = (angle % 180 // 20).astype(int)
                 histogram = np.zeros(9)
                 for k in range(9):
                     histogram[k] = magnitude[bins == k].sum()
                 return histogram
             """,
        check=_check_cell_histogram,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def cell_histogram(magnitude, angle):\n"
                "    return np.bincount((angle % 180 // 20).astype(int).ravel(), minlength=9)",
                "votes with its magnitude",
            ),
            Mistake(
                "def cell_histogram(magnitude, angle):\n"
                "    return np.histogram(angle, np.arange(0, 181, 20), weights=magnitude)[0]",
                "modulo 180",
            ),
            Mistake(
                "def cell_histogram(magnitude, angle):\n"
                "    return np.histogram(angle % 360 / 2, np.arange(0, 181, 20), weights=magnitude)[0]",
                "5 in bin 4",
            ),
            Mistake(
                "def cell_histogram(magnitude, angle):\n    histogram = np.zeros(9)\n"
                "    histogram[(angle % 180 // 20).astype(int)] += magnitude\n    return histogram",
                "adds only one of them",
            ),
            Mistake(
                "def cell_histogram(magnitude, angle):\n    bins = (angle % 180 // 20).astype(int)\n"
                "    return np.bincount(bins.ravel(), magnitude.ravel(), minlength=9) / 64",
                "do not average",
            ),
        ),
    ),
    Exercise(
        "02.boxes_of_places",
        "The boxes, (N, 4) on the photograph, of the windows of 80 px that stand at these rows and columns, (N,) each, "
        "of a level. scale: width and height of the photograph divided by the level's. One thing is forgotten.",
        stub="""
             def boxes_of_places(rows, columns, scale):
                 sx, sy = scale
                 x, y = 8 * columns * sx, 8 * rows * sy
                 return torch.from_numpy(np.stack((x, y, x + 80, y + 80), 1))
             """,
        solution="""
             def boxes_of_places(rows, columns, scale):
                 sx, sy = scale
                 x, y = 8 * columns * sx, 8 * rows * sy
                 return torch.from_numpy(np.stack((x, y, x + 80 * sx, y + 80 * sy), 1))
             """,
        check=_check_boxes_of_places,
        setup="import numpy as np\nimport torch",
        kind="find-the-bug",
        mistakes=(
            Mistake(
                "def boxes_of_places(rows, columns, scale):\n    sx, sy = scale\n    x, y = 8 * columns, 8 * rows\n"
                "    return torch.from_numpy(np.stack((x, y, x + 80, y + 80), 1).astype(float))",
                "Every box is 80 px wide",
            ),
            Mistake(
                "def boxes_of_places(rows, columns, scale):\n    sx, sy = scale\n"
                "    x, y = 8 * rows * sx, 8 * columns * sy\n"
                "    return torch.from_numpy(np.stack((x, y, x + 80 * sx, y + 80 * sy), 1))",
                "80 48 160 128",
            ),
            Mistake(
                "def boxes_of_places(rows, columns, scale):\n    sy, sx = scale\n"
                "    x, y = 8 * columns * sx, 8 * rows * sy\n"
                "    return torch.from_numpy(np.stack((x, y, x + 80 * sx, y + 80 * sy), 1))",
                "you mix them",
            ),
            Mistake(
                "def boxes_of_places(rows, columns, scale):\n    sx, sy = scale\n"
                "    x, y = 8 * columns * sx, 8 * rows * sy\n"
                "    return torch.from_numpy(np.stack((x, y, x + 80 / sx, y + 80 / sy), 1))",
                "You divide",
            ),
            Mistake(
                "def boxes_of_places(rows, columns, scale):\n    sx, sy = scale\n"
                "    x, y = 8 * columns * sx, 8 * rows * sy\n"
                "    return np.stack((x, y, x + 80 * sx, y + 80 * sy), 1)",
                "Give back a tensor",
            ),
        ),
    ),
    Exercise(
        "02.miss_at",
        "The share of the faces that score at or below the threshold above which a share fppw of the other windows "
        "scores. faces (N,) and others (M,) are scores.",
        stub="""
             def miss_at(faces, others, fppw):
                 raise NotImplementedError
             """,
        solution="""
             def miss_at(faces, others, fppw):
                 allowed = round(fppw * len(others))
                 threshold = np.sort(others)[::-1][allowed]  # so many score higher
                 return (faces <= threshold).mean()
             """,
        check=_check_miss_at,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def miss_at(faces, others, fppw):\n    return (faces <= 0).mean()",
                "nearly everything through",
            ),
            Mistake(
                "def miss_at(faces, others, fppw):\n    allowed = round(fppw * len(others))\n"
                "    return (faces <= np.sort(others)[allowed]).mean()",
                "nearly everything through",
            ),
            Mistake(
                "def miss_at(faces, others, fppw):\n    allowed = round(fppw * len(others))\n"
                "    return (faces > np.sort(others)[::-1][allowed]).mean()",
                "the share that is found",
            ),
            Mistake(
                "def miss_at(faces, others, fppw):\n    return np.mean(faces <= 1 - fppw)",
                "own scores",
            ),
            Mistake(
                "def miss_at(faces, others, fppw):\n    return np.mean(faces <= others.max() * (1 - fppw))",
                "own scores",
            ),
            Mistake(
                "def miss_at(faces, others, fppw):\n    allowed = round(fppw * len(others))\n"
                "    return (faces < np.sort(others)[::-1][allowed]).mean()",
                "at or below",
            ),
        ),
    ),
)
