"""Exercises of notebook 01: IoU, NMS, the area under the curve, and a box misread."""

import numpy as np
import torch
from torchvision.ops import batched_nms, box_iou

from course_utils.notebook.exercises import Exercise, Mistake

NOTHING = "It returns None: is the return missing?"


def _check_iou(iou):
    square, half_off = (0, 0, 10, 10), (5, 0, 15, 10)
    found = iou(square, half_off)
    if found is None:
        return NOTHING
    if np.isclose(found, 0.375):
        return "Edges are continuous here: the width is x2 - x1, without plus one."
    if np.isclose(found, 0.25):
        return "A + B counts the shared part twice: take it away once, and you have the union."
    if np.isclose(found, 0.5):
        return "That is the share of one box that is covered. Divide by the union of both."
    if not np.isclose(found, 1 / 3):
        return f"For {square} and {half_off} the answer is 50 / 150; yours is {found:.3f}."
    corner_off = (5, 5, 15, 15)
    found = iou(square, corner_off)
    if np.isclose(found, 25 / 225):
        return "You divided by the box around both; its empty corners belong to neither. Divide by the union."
    if not np.isclose(found, 1 / 7):
        return f"For {square} and {corner_off} the answer is 25 / 175; yours is {found:.3f}."
    for apart in ((20, 20, 30, 30), (20, 0, 30, 10), (0, 20, 10, 30)):
        found = iou(square, apart)
        if not np.isclose(found, 0):
            return f"{square} and {apart} share nothing, but you say {found:.3f}: a negative width must become 0."
    for a, b, right in (((0, 0, 10, 10), (2, 2, 8, 8), 0.36), ((0, 0, 4, 10), (0, 0, 4, 5), 0.5)):
        if not np.isclose(iou(a, b), right):
            return f"For {a} and {b} the answer is {right}; yours is {iou(a, b):.3f}."


def _random_boxes(n):
    corner = 60 * torch.rand(n, 2)
    return torch.cat((corner, corner + 5 + 35 * torch.rand(n, 2)), 1)


def _check_nms_per_class(nms_per_class):
    boxes = torch.tensor([[80.0, 70.0, 120.0, 110.0], [10.0, 10.0, 60.0, 60.0], [12.0, 10.0, 62.0, 60.0]])
    scores, labels = torch.tensor([0.6, 0.9, 0.8]), torch.tensor([1, 1, 2])
    found = nms_per_class(boxes, scores, labels, 0.5)
    if found is None:
        return NOTHING
    if not isinstance(found, torch.Tensor):
        return f"Return a tensor of row numbers, as nms does, not a {type(found).__name__}."
    found = found.tolist()
    if found == [1, 0]:
        return "A box of class 1 removed a box of class 2. Let each class compete with itself only."
    if sorted(found) != [0, 1, 2]:
        return (
            f"Boxes 0 and 1 are of class 1, box 2 is of class 2, and all three stay; you keep {found}. "
            "Do your numbers count within the class? They must count in the whole list."
        )
    if found != [1, 2, 0]:
        return f"The right boxes stay, but the highest score comes first: [1, 2, 0] here, not {found}."
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for threshold in (0.2, 0.5):
            boxes, scores, labels = _random_boxes(60), torch.rand(60), torch.randint(1, 4, (60,))
            right = batched_nms(boxes, scores, labels, threshold).tolist()
            if nms_per_class(boxes, scores, labels, threshold).tolist() != right:
                return f"Random boxes of three classes, threshold {threshold}: not what batched_nms keeps."
    if len(nms_per_class(boxes[:0], scores[:0], labels[:0], 0.5)):
        return "Without boxes there is nothing to keep, but you return something."


def _check_all_point(all_point):
    found = all_point(np.array([0.5]), np.array([1.0]))
    if found is None:
        return NOTHING
    if np.isclose(found, 0):
        return (
            "You lost the first step: it begins at recall 0, before the first detection. (And the area is one of "
            "steps: neither trapezoids nor recall[-1], which is the last entry, belong in it.)"
        )
    if not np.isclose(found, 0.5):
        return f"Half the objects are found, each rightly, and the list ends: the area is 0.5, not {found:.3f}."
    hits = np.array([1, 0, 1, 0, 0, 1, 0])
    found = all_point(np.cumsum(hits) / 3, np.cumsum(hits) / np.arange(1, 8))
    if np.isclose(found, 1):
        return "Your best precision looks back, to lower recalls. Look forward: from the last point to the first."
    if not np.isclose(found, 13 / 18):
        return f"For the seven detections on the coins the area is 0.722; yours is {found:.3f}."
    found = all_point(np.array([0, 1, 2]) / 2, np.array([0, 1 / 2, 2 / 3]))
    if np.isclose(found, 7 / 12):
        return "Each recall counts with the best precision at this recall or a higher one; you took the raw one."
    if not np.isclose(found, 2 / 3):
        return f"For recall 0, 1/2, 1 and precision 0, 1/2, 2/3 the area is 2/3; yours is {found:.3f}."
    if all_point(np.array([]), np.array([])) != 0:
        return "Without any detection the area is 0."


def _check_overlaps(overlaps):
    truth = torch.tensor([[10.0, 20.0, 50.0, 40.0]])
    found = overlaps(torch.tensor([[30.0, 30.0, 40.0, 20.0]]), truth)
    if found is None:
        return NOTHING
    value = float(found.reshape(-1)[0])
    if np.isclose(value, 0.25):
        return "Now the box is twice as wide and twice as high: from its centre to an edge it is half the width."
    if np.isclose(value, 1 / 3):
        return "One axis is right. The other still takes the centre for an edge."
    if not np.isclose(value, 1):
        return f"A perfect box gets {value:.3f}: which format does the file have, and which does box_iou want?"
    rows = torch.tensor([[50.0, 40.0, 40.0, 20.0], [30.0, 30.0, 20.0, 20.0]])
    right = box_iou(torch.tensor([[30.0, 30.0, 70.0, 50.0], [20.0, 20.0, 40.0, 40.0]]), truth)[:, 0]
    if not torch.allclose(overlaps(rows, truth).reshape(-1), right):
        return "A perfect box gets 1, but two others come out wrong."
    rows, odd = torch.tensor([[15.5, 20.5, 7.0, 9.0]]), torch.tensor([[12.0, 16.0, 19.0, 25.0]])
    if not torch.allclose(overlaps(rows, odd), torch.ones(1)):
        return (
            "A perfect box of 7 x 9 does not get 1: half of an odd size is no whole number, so divide with /, not //."
        )
    if len(overlaps(rows[:0], odd)):
        return "A file without boxes has no overlaps, but you return some."


EXERCISES = (
    Exercise(
        "01.iou",
        "IoU of two boxes a and b, each x1, y1, x2, y2 on continuous edges; both have an area.",
        stub="""
             def iou(a, b):
                 raise NotImplementedError
             """,
        solution="""
             def iou(a, b):
                 width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
                 height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
                 shared = width * height
                 area_a = (a[2] - a[0]) * (a[3] - a[1])
                 area_b = (b[2] - b[0]) * (b[3] - b[1])
                 return shared / (area_a + area_b - shared)
             """,
        check=_check_iou,
        mistakes=(
            Mistake(
                "def iou(a, b):\n    s = (min(a[2], b[2]) - max(a[0], b[0])) * (min(a[3], b[3]) - max(a[1], b[1]))\n"
                "    return s / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - s)",
                "negative width",
            ),
            Mistake(
                "def iou(a, b):\n    s = max(0, min(a[2], b[2]) - max(a[0], b[0]))"
                " * max(0, min(a[3], b[3]) - max(a[1], b[1]))\n"
                "    return s / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]))",
                "counts the shared part twice",
            ),
            Mistake(
                "def iou(a, b):\n    s = max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1)"
                " * max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)\n"
                "    return s / ((a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - s)",
                "without plus one",
            ),
            Mistake(
                "def iou(a, b):\n    s = max(0, min(a[2], b[2]) - max(a[0], b[0]))"
                " * max(0, min(a[3], b[3]) - max(a[1], b[1]))\n"
                "    return s / ((max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1])))",
                "the box around both",
            ),
        ),
    ),
    Exercise(
        "01.overlaps",
        "A file gives each box as centre x, centre y, width, height. overlaps should return, for each, its IoU "
        "with the nearest true box. It runs, and a perfect file scores 0.143. Mend it.",
        stub="""
             def overlaps(rows, truth):
                 x, y, w, h = rows.unbind(1)
                 boxes = torch.stack((x, y, x + w, y + h), 1)  # (N, 4)
                 return box_iou(boxes, truth).max(1).values
             """,
        solution="""
             def overlaps(rows, truth):
                 x, y, w, h = rows.unbind(1)
                 boxes = torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), 1)  # (N, 4)
                 return box_iou(boxes, truth).max(1).values
             """,
        check=_check_overlaps,
        setup="import torch\nfrom torchvision.ops import box_iou",
        kind="find-the-bug",
        mistakes=(
            Mistake(
                "def overlaps(rows, truth):\n    x, y, w, h = rows.unbind(1)\n"
                "    return box_iou(torch.stack((x - w, y - h, x + w, y + h), 1), truth).max(1).values",
                "twice as wide",
            ),
            Mistake(
                "def overlaps(rows, truth):\n    x, y, w, h = rows.unbind(1)\n"
                "    return box_iou(torch.stack((x - w / 2, y, x + w / 2, y + h), 1), truth).max(1).values",
                "The other still takes the centre",
            ),
            Mistake(
                "def overlaps(rows, truth):\n    return box_iou(rows, truth).max(1).values",
                "which format",
            ),
            Mistake(
                "def overlaps(rows, truth):\n    x, y, w, h = rows.unbind(1)\n"
                "    boxes = torch.stack((x - w // 2, y - h // 2, x + w // 2, y + h // 2), 1)\n"
                "    return box_iou(boxes, truth).max(1).values",
                "half of an odd size",
            ),
        ),
    ),
    Exercise(
        "01.nms_per_class",
        "NMS within each class: a tensor of the rows kept, highest score first; empty if there are no boxes. Use "
        "nms(boxes, scores, threshold), which knows no classes.",
        stub="""
             def nms_per_class(boxes, scores, labels, threshold):
                 raise NotImplementedError
             """,
        solution="""
             def nms_per_class(boxes, scores, labels, threshold):
                 kept = [labels[:0]]  # no rows: right even without boxes
                 for label in labels.unique():
                     rows = (labels == label).nonzero()[:, 0]
                     kept.append(rows[nms(boxes[rows], scores[rows], threshold)])
                 kept = torch.cat(kept)
                 return kept[scores[kept].argsort(descending=True)]
             """,
        check=_check_nms_per_class,
        setup="import torch\nfrom torchvision.ops import nms",
        mistakes=(
            Mistake(
                "def nms_per_class(boxes, scores, labels, threshold):\n    return nms(boxes, scores, threshold)",
                "compete with itself",
            ),
            Mistake(
                "def nms_per_class(boxes, scores, labels, threshold):\n"
                "    return torch.cat([nms(boxes[labels == k], scores[labels == k], threshold) "
                "for k in labels.unique()])",
                "count within the class",
            ),
            Mistake(
                "def nms_per_class(boxes, scores, labels, threshold):\n    kept = []\n    for k in labels.unique():\n"
                "        rows = (labels == k).nonzero()[:, 0]\n"
                "        kept.append(rows[nms(boxes[rows], scores[rows], threshold)])\n"
                "    return torch.cat(kept)",
                "the highest score comes first",
            ),
            Mistake(
                "def nms_per_class(boxes, scores, labels, threshold):\n    kept = []\n    for k in labels.unique():\n"
                "        rows = (labels == k).nonzero()[:, 0]\n"
                "        kept += rows[nms(boxes[rows], scores[rows], threshold)].tolist()\n"
                "    return sorted(kept, key=lambda row: -scores[row])",
                "Return a tensor",
            ),
        ),
    ),
    Exercise(
        "01.all_point",
        "Area under the steps: every gain in recall counts with the best precision at its new recall or a higher "
        "one. recall and precision are arrays (N,), one entry per detection, highest score first.",
        stub="""
             def all_point(recall, precision):
                 raise NotImplementedError
             """,
        solution="""
             def all_point(recall, precision):
                 best = np.maximum.accumulate(precision[::-1])[::-1]
                 return (np.diff(recall, prepend=0) * best).sum()
             """,
        check=_check_all_point,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def all_point(recall, precision):\n    return (np.diff(recall, prepend=0) * precision).sum()",
                "you took the raw one",
            ),
            Mistake(
                "def all_point(recall, precision):\n"
                "    return (np.diff(recall, prepend=0) * np.maximum.accumulate(precision)).sum()",
                "looks back",
            ),
            Mistake(
                "def all_point(recall, precision):\n"
                "    best = np.maximum.accumulate(precision[::-1])[::-1]\n"
                "    return (np.diff(recall) * best[:-1]).sum()",
                "lost the first step",
            ),
            Mistake(
                "def all_point(recall, precision):\n"
                "    best = np.maximum.accumulate(precision[::-1])[::-1]\n"
                "    return sum((recall[i] - recall[i - 1]) * best[i] for i in range(len(recall)))",
                "which is the last entry",
            ),
        ),
    ),
)
