"""Detections, truth and plain loops that the tests of the metrics share."""

import numpy as np
import torch
from hypothesis import strategies as st

from course_utils.datasets.base import make_target
from course_utils.metrics import FALSE_ALARM, HIT, IGNORED

seeds = st.integers(0, 2**32 - 1)


def found(boxes=(), labels=None, scores=None):
    """Detections of one image: label 1 and falling scores unless told."""
    boxes = torch.tensor(np.asarray(boxes).astype(np.float32).reshape(-1, 4))
    n = len(boxes)
    return {
        "boxes": boxes,
        "labels": torch.as_tensor([1] * n if labels is None else labels, dtype=torch.int64),
        "scores": torch.tensor(np.linspace(0.9, 0.1, n) if scores is None else scores, dtype=torch.float32),
    }


def truth(boxes=(), labels=None, **flags):
    return make_target(boxes, [1] * len(boxes) if labels is None else labels, **flags)


def random_set(seed, n_images=8, n_classes=3, most=6, size=200, crowds=False, single=False, difficult=0.2):
    """Detections near objects and elsewhere: ties in score, copies, empty images, difficult objects, all sizes."""
    rng = np.random.default_rng(seed)
    detections, targets = [], []
    for _ in range(n_images):
        n = rng.integers(0, most)
        corner = rng.integers(0, size, (n, 2))
        extent = np.maximum(1, size * rng.choice([0.1, 0.3, 0.6], (n, 1)) * rng.uniform(0.5, 1.5, (n, 2)))
        boxes = np.concatenate([corner, corner + np.round(extent)], axis=1)
        labels = np.full(n, rng.integers(1, n_classes + 1)) if single else rng.integers(1, n_classes + 1, n)
        target = truth(boxes, labels, difficult=rng.random(n) < difficult)
        if crowds:
            target["iscrowd"] = torch.tensor(rng.random(n) < 0.2)
        targets.append(target)
        wanted = rng.integers(0, n, rng.integers(0, 3 * most)) if n else np.zeros(0, int)
        near = boxes[wanted] + np.round(rng.normal(0, rng.choice([0, 2, 15]), (len(wanted), 4)))
        far = rng.integers(0, size, (rng.integers(0, most), 4)).astype(float)
        far[:, 2:] += far[:, :2]
        every = np.concatenate([near, far])
        every[:, 2:] = np.maximum(every[:, 2:], every[:, :2])  # some have no area
        which = np.concatenate([labels[wanted], rng.integers(1, n_classes + 1, len(far))])
        which = np.where(rng.random(len(every)) < 0.2, rng.integers(1, n_classes + 1, len(every)), which)
        detections.append(found(every, which, np.round(rng.random(len(every)), rng.choice([1, 6]))))
    return detections, targets


def plain_iou(a, b):
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - across * down
    return across * down / union if union else 0.0


def rows(detections, label):
    """(score, image, row, box) of one class, highest score first."""
    every = [
        (score, i, k, box)
        for i, one in enumerate(detections)
        for k, (box, name, score) in enumerate(
            zip(one["boxes"].tolist(), one["labels"].tolist(), one["scores"].tolist())
        )
        if name == label
    ]
    return sorted(every, key=lambda row: -row[0])


def things(target, label):
    """(row, box, difficult) of one class in one image."""
    crowd = target.get("iscrowd", torch.zeros(len(target["labels"]))).tolist()
    every = zip(target["boxes"].tolist(), target["labels"].tolist(), target["difficult"].tolist(), crowd)
    return [(k, box, bool(hard or many)) for k, (box, name, hard, many) in enumerate(every) if name == label]


def plain_voc(detections, targets, label, threshold):
    """VOC's rule as loops: a list of (kind, image, row, object)."""
    taken, story = set(), []
    for _, i, k, box in rows(detections, label):
        best, chosen, hard = 0.0, -1, False
        for g, thing, difficult in things(targets[i], label):
            if plain_iou(box, thing) > best:
                best, chosen, hard = plain_iou(box, thing), g, difficult
        if best < threshold:
            kind = FALSE_ALARM
        elif hard:
            kind = IGNORED
        elif (i, chosen) in taken:
            kind = FALSE_ALARM
        else:
            kind = HIT
            taken.add((i, chosen))
        story.append((kind, i, k, chosen))
    return story
