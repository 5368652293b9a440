"""How hard is ToyVOC? A rigid HoG template and a small Faster R-CNN, measured on its test part.

    python benchmarks/toyvoc_probe.py                     # both detectors, about six minutes on two cores
    python benchmarks/toyvoc_probe.py --data FOLDER       # on a variant made by `course data --out FOLDER ...`

Wanted of the frozen set: the template at AP50 .15 to .45 on most classes, the small CNN at least .40 and at least 1.5
times the template after about two minutes on two cores. The CNN trains for a fixed number of epochs, so that a busy
machine does not change the result; the seconds are printed.
"""

import argparse
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.svm import LinearSVC
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, box_iou, nms

from course_utils.datasets import open_dataset
from course_utils.metrics import evaluate_boxes

CELL, AREA, STEP, MARGIN = 8, 72, 1.2, 1.2


def hog(image: np.ndarray) -> np.ndarray:
    """Dalal-Triggs blocks (rows, columns, 36) of the whole picture, by OpenCV."""
    h, w = (s // CELL * CELL for s in image.shape[:2])
    descriptor = cv2.HOGDescriptor((w, h), (16, 16), (8, 8), (8, 8), 9)
    blocks = descriptor.compute(np.ascontiguousarray(image[:h, :w])).reshape(w // CELL - 1, h // CELL - 1, 36)
    return blocks.transpose(1, 0, 2)


def pyramid(image: np.ndarray):
    """Blocks and scale for every level, from twice the picture's size down."""
    scale = 2.0
    while min(image.shape[:2]) * scale > 60:
        yield hog(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)), scale
        scale /= STEP


class Template:
    """One rigid template for one class."""

    def __init__(self, boxes: np.ndarray):
        aspect = float(np.median((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])))
        self.cells = tuple(max(4, round(s)) for s in ((AREA / aspect) ** 0.5, (AREA * aspect) ** 0.5))
        self.weights, self.bias = None, 0.0

    def crop(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Descriptor of the box grown by the margin, then to the template's aspect."""
        rows, columns = self.cells
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        scale = MARGIN * max((box[2] - box[0]) / columns, (box[3] - box[1]) / rows) / CELL
        corners = np.float32(
            [
                [cx - columns * CELL * scale / 2, cy - rows * CELL * scale / 2],
                [cx + columns * CELL * scale / 2, cy - rows * CELL * scale / 2],
                [cx - columns * CELL * scale / 2, cy + rows * CELL * scale / 2],
            ]
        )
        target = np.float32([[0, 0], [columns * CELL, 0], [0, rows * CELL]])
        patch = cv2.warpAffine(
            image,
            cv2.getAffineTransform(corners, target),
            (columns * CELL, rows * CELL),
            flags=cv2.INTER_AREA,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return hog(patch).reshape(-1)

    def fit(self, positives: list[np.ndarray], negatives: list[np.ndarray]) -> None:
        x = np.concatenate([positives, negatives])
        y = np.r_[np.ones(len(positives)), -np.ones(len(negatives))]
        svm = LinearSVC(C=0.01, class_weight={1: 2.0, -1: 1.0}, max_iter=3000).fit(x, y)
        self.weights = torch.tensor(svm.coef_.reshape(self.cells[0] - 1, self.cells[1] - 1, 36), dtype=torch.float32)
        self.bias = float(svm.intercept_[0])

    def windows(self, blocks: np.ndarray, scale: float, least: float):
        """Scores, boxes and block positions (row, column) of the windows that score above *least*."""
        rows, columns = self.weights.shape[:2]
        if blocks.shape[0] < rows or blocks.shape[1] < columns:
            return torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, 2, dtype=torch.long)
        score = F.conv2d(torch.from_numpy(blocks.transpose(2, 0, 1).copy())[None], self.weights.permute(2, 0, 1)[None])[
            0, 0
        ]
        at = (score + self.bias > least).nonzero()
        window = torch.tensor([self.cells[1], self.cells[0]]) * float(CELL)
        corner = at.flip(1).float() * CELL + window * (1 - 1 / MARGIN) / 2
        size = window / MARGIN
        return score[at[:, 0], at[:, 1]] + self.bias, torch.cat([corner, corner + size], 1) / scale, at

    def detect(self, levels, least: float = -1.0) -> tuple[torch.Tensor, torch.Tensor]:
        found = [self.windows(blocks, scale, least)[:2] for blocks, scale in levels]
        scores, boxes = torch.cat([s for s, _ in found]), torch.cat([b for _, b in found])
        keep = nms(boxes, scores, 0.3)[:20]
        return boxes[keep], scores[keep]


def train_templates(dataset, count: int, rng: np.random.Generator) -> list[Template]:
    """One template per class from the first *count* images; two rounds of hard negatives from half of them."""
    shots = [dataset[i] for i in range(count)]
    templates = []
    for label in range(1, len(dataset.classes) + 1):
        sure = [
            (im, t["boxes"][k].numpy())
            for im, t in shots
            for k in range(len(t["labels"]))
            if t["labels"][k] == label and not t["difficult"][k] and not t["truncated"][k]
        ]
        template = Template(np.stack([b for _, b in sure]))
        positives = []
        for image, (x1, y1, x2, y2) in sure:
            w = image.shape[1]
            positives += [
                template.crop(image, np.array([x1, y1, x2, y2])),
                template.crop(image[:, ::-1], np.array([w - x2, y1, w - x1, y2])),
            ]
        negatives = []
        for image, target in shots:
            mine = target["boxes"][target["labels"] == label]
            for _ in range(6):
                side = rng.uniform(30, 160)
                x, y = rng.uniform(0, image.shape[1] - side), rng.uniform(0, image.shape[0] - side)
                box = np.array([x, y, x + side, y + side], np.float32)
                if not len(mine) or box_iou(torch.tensor(box)[None], mine).max() < 0.3:
                    negatives.append(template.crop(image, box))
        template.fit(positives, negatives)
        templates.append((template, positives, negatives))
    for _ in range(2):
        for image, target in shots[: count // 2]:
            levels = list(pyramid(image))
            for label, (template, _, negatives) in enumerate(templates, 1):
                mine = target["boxes"][target["labels"] == label]
                rows, columns = template.weights.shape[:2]
                for blocks, scale in levels:
                    scores, boxes, at = template.windows(blocks, scale, -0.5)
                    hard = scores.argsort(descending=True)[:3]
                    for k in hard.tolist():
                        if not len(mine) or box_iou(boxes[k][None], mine).max() < 0.3:
                            i, j = at[k].tolist()
                            negatives.append(blocks[i : i + rows, j : j + columns].reshape(-1))
        for template, positives, negatives in templates:
            template.fit(positives, negatives)
    return [t for t, _, _ in templates]


def template_detections(dataset, templates) -> list[dict]:
    out = []
    for image, _ in dataset:
        levels = list(pyramid(image))
        found = [t.detect(levels) for t in templates]
        out.append(
            {
                "boxes": torch.cat([b for b, _ in found]),
                "scores": torch.cat([s for _, s in found]),
                "labels": torch.cat([torch.full((len(s),), k + 1) for k, (_, s) in enumerate(found)]),
            }
        )
    return out


def small_rcnn(classes: int) -> FasterRCNN:
    """torchvision's Faster R-CNN on a five-layer backbone of stride 8, for pictures of 128 px."""

    def block(a, b, stride):
        return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())

    backbone = nn.Sequential(
        block(3, 32, 2), block(32, 64, 2), block(64, 128, 2), block(128, 128, 1), block(128, 128, 1)
    )
    backbone.out_channels = 128
    return FasterRCNN(
        backbone,
        min_size=128,
        max_size=128,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
        rpn_anchor_generator=AnchorGenerator(((24, 40, 64, 90),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 5, 1),
        box_head=TwoMLPHead(128 * 25, 256),
        box_predictor=FastRCNNPredictor(256, classes + 1),
        rpn_pre_nms_top_n_train=300,
        rpn_post_nms_top_n_train=150,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=100,
        box_batch_size_per_image=32,
        box_detections_per_img=50,
        box_score_thresh=0.02,
    )


def halved(image: np.ndarray) -> torch.Tensor:
    small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small).permute(2, 0, 1).float() / 255


def train_rcnn(dataset, epochs: int, seed: int) -> FasterRCNN:
    torch.manual_seed(seed)
    shots = []
    for image, target in dataset:
        scale = 128 / image.shape[0]
        shots.append((halved(image), target["boxes"] * scale, target["labels"]))
    model = small_rcnn(len(dataset.classes)).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-4)
    start, generator = (time.perf_counter(), time.process_time()), torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for n, batch in enumerate(torch.randperm(len(shots), generator=generator).split(8)):
            spent = (epoch + n * 8 / len(shots)) / epochs
            for group in optimizer.param_groups:
                group["lr"] = 1.5e-3 * min(1.0, spent * 20) * (1 - spent) ** 0.5
            images, targets = [], []
            for k in batch.tolist():
                image, boxes, labels = shots[k]
                if torch.rand(1, generator=generator) < 0.5:
                    image, boxes = (
                        image.flip(2),
                        torch.stack([128 - boxes[:, 2], boxes[:, 1], 128 - boxes[:, 0], boxes[:, 3]], 1),
                    )
                images.append(image)
                targets.append({"boxes": boxes, "labels": labels})
            loss = sum(model(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    print(f"small Faster R-CNN: {epochs} epochs took {wall:.0f} s ({cpu:.0f} CPU seconds)")
    return model.eval()


@torch.no_grad()
def rcnn_detections(dataset, model) -> list[dict]:
    out = []
    for image, _ in dataset:
        found = model([halved(image)])[0]
        out.append(found | {"boxes": found["boxes"] * image.shape[0] / 128})
    return out


def ap50(dataset, detections: list[dict]) -> np.ndarray:
    """The course's AP at IoU .5 per class."""
    targets = [dataset.target(i) for i in range(len(dataset))]
    return np.array(list(evaluate_boxes(detections, targets, dataset.classes)["AP50"].values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="toyvoc", help="toyvoc, or the folder of a variant")
    parser.add_argument("--epochs", type=int, default=10, help="of the CNN; ten take two minutes on two idle cores")
    parser.add_argument("--only", choices=["template", "cnn"])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train, test = open_dataset(args.data, "train"), open_dataset(args.data, "test")
    train.with_masks = test.with_masks = False
    rows = {}
    if args.only != "cnn":
        templates = train_templates(train, min(600, len(train)), np.random.default_rng(args.seed))
        rows["rigid HoG template"] = ap50(test, template_detections(test, templates))
    if args.only != "template":
        model = train_rcnn(train, args.epochs, args.seed)
        rows["small Faster R-CNN"] = ap50(test, rcnn_detections(test, model))
    print(f"AP50 on {test!r}, seed {args.seed}")
    print(" " * 20 + "".join(f"{c:>8s}" for c in test.classes) + "    mean")
    for name, values in rows.items():
        print(f"{name:20s}" + "".join(f"{v:8.2f}" for v in values) + f"{np.nanmean(values):8.2f}")
    if len(rows) == 2:
        a, b = rows.values()
        print(
            f"ratio of the means {np.nanmean(b) / np.nanmean(a):.2f}; template within .15-.45 on "
            f"{int(((a >= 0.15) & (a <= 0.45)).sum())} of {len(a)} classes"
        )


if __name__ == "__main__":
    main()
