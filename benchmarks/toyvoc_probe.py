"""How hard is ToyVOC? A rigid HoG template and a small Faster R-CNN, measured on its test part.

    python benchmarks/toyvoc_probe.py                     # both detectors, about five minutes on two cores
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
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from course_utils.datasets import open_dataset
from course_utils.detectors.hog_svm import HogSvm
from course_utils.metrics import evaluate_boxes


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
        template = HogSvm(seed=args.seed).fit(train)
        rows["rigid HoG template"] = ap50(test, [template.detect(test.image(i)) for i in range(len(test))])
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
