"""The metrics against pycocotools: the same twelve numbers, one thread each; and seconds over the number of images.

    python benchmarks/metrics.py     # about a minute

Ours is `evaluate_boxes`: AP50 of all classes by VOC's rule and COCO's twelve numbers, from dictionaries of tensors.
Theirs is ``COCOeval`` with ``evaluate``, ``accumulate`` and ``summarize``, from an index that is built already; it runs
once, for it is slow.
"""

import contextlib
import io

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from course_utils.datasets.base import make_target
from course_utils.metrics import evaluate_boxes
from course_utils.timing import measure

CLASSES = tuple(f"class {k}" for k in range(1, 21))
DETECTIONS, SIZE = 100, 500.0  # of an image; its side in pixels


def make_set(n_images: int, seed: int = 0) -> tuple[list[dict], list[dict]]:
    """Detections and targets: about four objects an image, most detections near one, scores that tell little."""
    rng = np.random.default_rng(seed)
    detections, targets = [], []
    for _ in range(n_images):
        n = rng.integers(0, 9)
        corner = rng.uniform(0, 0.8 * SIZE, (n, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 0.5 * SIZE, (n, 2))], axis=1)
        target = make_target(boxes, rng.integers(1, len(CLASSES) + 1, n), iscrowd=rng.random(n) < 0.02)
        targets.append(target)
        corner = rng.uniform(0, 0.8 * SIZE, (DETECTIONS, 2))
        found = np.concatenate([corner, corner + rng.uniform(10, 0.5 * SIZE, (DETECTIONS, 2))], axis=1)
        labels = rng.integers(1, len(CLASSES) + 1, DETECTIONS)
        if n:
            near = np.flatnonzero(rng.random(DETECTIONS) < 0.5)
            which = rng.integers(0, n, len(near))
            moved = boxes[which] + rng.normal(0, 8, (len(near), 4))
            found[near] = np.concatenate([moved[:, :2], np.maximum(moved[:, 2:], moved[:, :2] + 1)], axis=1)
            labels[near] = target["labels"].numpy()[which]
        scores = rng.random(DETECTIONS).round(3)  # some are equal
        found = torch.tensor(found, dtype=torch.float32)
        detections.append({"boxes": found, "labels": torch.tensor(labels), "scores": torch.tensor(scores)})
    return detections, targets


def xywh(boxes: torch.Tensor) -> np.ndarray:
    boxes = boxes.double().numpy()
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def official(detections: list[dict], targets: list[dict]) -> COCOeval:
    """COCOeval over the same boxes, ready to run."""
    annotations = []
    for i, target in enumerate(targets, 1):
        for box, label, crowd in zip(xywh(target["boxes"]), target["labels"].tolist(), target["iscrowd"].tolist()):
            one = {"id": len(annotations) + 1, "image_id": i, "category_id": label, "bbox": box.tolist()}
            annotations.append(one | {"area": box[2] * box[3], "iscrowd": int(crowd)})
    # one row per detection: image, x, y, width, height, score, label
    results = np.concatenate(
        [
            np.column_stack([np.full(DETECTIONS, i), xywh(one["boxes"]), one["scores"], one["labels"]])
            for i, one in enumerate(detections, 1)
        ]
    )
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in range(1, len(targets) + 1)],
        "categories": [{"id": k} for k in range(1, len(CLASSES) + 1)],
        "annotations": annotations,
    }
    truth.createIndex()
    return COCOeval(truth, truth.loadRes(results), "bbox")


def main() -> None:
    sizes = (1000, 2000, 5000, 10000)
    detections, targets = make_set(sizes[-1])
    print(f"{DETECTIONS} detections an image, {len(CLASSES)} classes, one thread\n")
    print(" images   seconds of evaluate_boxes   seconds per 1,000 images")
    medians = {}
    for n in sizes:
        timing = measure(lambda n=n: evaluate_boxes(detections[:n], targets[:n], CLASSES), repeats=3)
        medians[n] = timing.median
        print(f"{n:7,d}   {timing.median:10.2f} (spread {timing.spread:.2f})   {1000 * timing.median / n:18.2f}")

    n = 5000
    with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress to everybody
        judge = official(detections[:n], targets[:n])

        def run() -> None:
            judge.evaluate()
            judge.accumulate()
            judge.summarize()

        theirs = measure(run, repeats=1, warmup=0).median
    ours = np.array(list(evaluate_boxes(detections[:n], targets[:n], CLASSES)["COCO"].values()))
    difference = np.abs(ours - judge.stats).max()
    assert difference < 1e-6, f"the twelve numbers differ by {difference}"
    print(f"\n{n:,} images: ours {medians[n]:.2f} s (median of 3), pycocotools {theirs:.1f} s (1 run)")
    print(f"ours / pycocotools = {medians[n] / theirs:.3f}")
    print(f"the twelve numbers (AP {ours[0]:.3f}, AP50 {ours[1]:.3f}, ...) differ by {difference:.1e} at most")


if __name__ == "__main__":
    main()
