"""HoG and a linear SVM in a sliding window: one rigid template per class, tried everywhere and at every size.

Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005. Differences: several classes, each
with a window of its own shape; pictures that contain the class give negatives too, away from its objects.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from PIL import Image
from sklearn.svm import LinearSVC
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from course_utils.datasets.base import Dataset
from course_utils.detectors.base import Detector
from course_utils.errors import DataError
from course_utils.hog import CELL, Level, hog, pyramid, score, window_boxes
from course_utils.progress import progress

NEGATIVE_BELOW = 0.3  # a window with less IoU than this with every object of the class is a negative
HARD_ABOVE = -0.5  # a negative window with a score above this is worth learning from
REPORTED_ABOVE = -1.0  # so low that the curve of precision and recall reaches its end
NMS_ABOVE = 0.3
MOST = 100  # detections per image


def window_of(box: np.ndarray, cells: tuple[int, int], margin: float) -> np.ndarray:
    """The window that a template sees where the object fills ``box``.

    The box grows by ``margin`` of its width at the left and at the right, of its height above and below; then the side
    that is too short for the template's shape grows, about the centre.

    Parameters
    ----------
    box : ndarray
        ``(4,)``: x1 y1 x2 y2.
    cells : (int, int)
        Rows and columns of the template's window.
    margin : float
        Part of the box.

    Returns
    -------
    ndarray
        ``(4,)``: x1 y1 x2 y2, which may reach over the border of the picture.
    """
    centre, size = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * (1 + 2 * margin)
    rows, columns = cells
    cell = max(size[0] / columns, size[1] / rows)  # pixels of the picture per cell
    half = np.array([columns, rows]) * cell / 2
    return np.concatenate([centre - half, centre + half])


def box_of(windows: Tensor, margin: float) -> Tensor:
    """Boxes ``(N, 4)`` inside windows ``(N, 4)``: without the margin of `window_of`."""
    cut = (windows[:, 2:] - windows[:, :2]).repeat(1, 2) * margin / (1 + 2 * margin)
    return windows + cut * torch.tensor([1, 1, -1, -1])


def features_of(image: np.ndarray, window: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """HoG of one window of the picture, brought to ``cells``; float32 ``(rows - 1, columns - 1, 36)``.

    One cell more is cut out on every side and dropped afterwards, so that the gradients at the window's border are
    those that a scan of the whole picture sees. Beyond the picture its outermost pixels are repeated.
    """
    rows, columns = cells
    step = (window[2:] - window[:2]) / (columns, rows)  # a cell in pixels, x and y
    x1, y1, x2, y2 = np.concatenate([window[:2] - step, window[2:] + step])
    height, width = image.shape[:2]
    beyond = int(np.ceil(max(0, -x1, -y1, x2 - width, y2 - height)))
    padded = Image.fromarray(np.pad(image, ((beyond, beyond), (beyond, beyond), (0, 0)), mode="edge"))
    size = (CELL * (columns + 2), CELL * (rows + 2))
    cut = padded.resize(size, Image.BILINEAR, box=(x1 + beyond, y1 + beyond, x2 + beyond, y2 + beyond))
    return hog(np.asarray(cut))[1:-1, 1:-1]


class HogSvm(Detector):
    """One HoG template per class, learned by a linear SVM with rounds of hard negatives.

    Parameters
    ----------
    area : int
        Cells of 8 x 8 px in a window; its shape is that of the class's median box.
    margin : float
        How much of the surroundings the window shows, as a part of the box on each side.
    step : float
        Ratio of the sizes of two levels of the pyramid.
    largest : float
        Enlargement of the picture on the pyramid's first level.
    C : float
        Weight of the errors against the size of the weights, as in `sklearn.svm.LinearSVC`.
    rounds : int
        How often false alarms on the training pictures are added to the negatives.
    scanned : int
        Training pictures that negatives are taken from, drawn at random.
    hardest : int
        Negatives taken from one level in one round, at most.
    seed : int
        Of the drawing.
    """

    system = "hog_svm"

    def __init__(
        self,
        *,
        area: int = 72,
        margin: float = 0.1,
        step: float = 1.2,
        largest: float = 2.0,
        C: float = 0.01,
        rounds: int = 2,
        scanned: int = 200,
        hardest: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        if area < 4 or margin < 0 or step <= 1 or largest <= 0 or C <= 0 or rounds < 0 or min(scanned, hardest) < 1:
            raise DataError(
                f"{self.system} wants area >= 4, margin >= 0, step > 1, largest > 0, C > 0, rounds >= 0, scanned >= 1, "
                f"hardest >= 1; got {area}, {margin}, {step}, {largest}, {C}, {rounds}, {scanned} and {hardest}."
            )
        self.area, self.margin, self.step, self.largest = area, margin, step, largest
        self.C, self.rounds, self.scanned, self.hardest = C, rounds, scanned, hardest

    # ------------------------------------------------------------------------------------------------- training

    def _fit(self, dataset: Dataset) -> None:
        rng = np.random.default_rng(self.seed)
        with dataset.masks_left_out():
            targets = [dataset.target(i) for i in range(len(dataset))]
        sure = [target["boxes"][~(target["difficult"] | target["truncated"])] for target in targets]
        sure_labels = [target["labels"][~(target["difficult"] | target["truncated"])] for target in targets]
        boxes, labels = torch.cat(sure), torch.cat(sure_labels)
        present = [label for label in range(1, len(self.classes) + 1) if (labels == label).any()]
        if not present:
            raise DataError(
                f"{dataset!r} has no object that is neither difficult nor truncated: nothing to learn from."
            )
        cells = {label: self._cells(boxes[labels == label]) for label in present}

        positives: dict[int, list[np.ndarray]] = {label: [] for label in present}
        for i, (own, own_labels) in enumerate(progress(list(zip(sure, sure_labels)), "positives")):
            if not len(own):
                continue
            image = dataset.image(i)
            mirrored, width = np.ascontiguousarray(image[:, ::-1]), image.shape[1]
            for (x1, y1, x2, y2), label in zip(own.double().numpy(), own_labels.tolist()):
                for view, box in ((image, (x1, y1, x2, y2)), (mirrored, (width - x2, y1, width - x1, y2))):
                    window = window_of(np.array(box), cells[label], self.margin)
                    positives[label].append(features_of(view, window, cells[label]).ravel())

        # key of a window: image, level, row, column; the same window is never learned from twice
        negatives: dict[int, dict[tuple[int, ...], np.ndarray]] = {label: {} for label in present}
        scanned = np.sort(rng.permutation(len(dataset))[: self.scanned])
        for turn in range(self.rounds + 1):
            for i in progress(scanned.tolist(), f"negatives {turn}"):
                for key, label, features in self._negatives(dataset.image(i), targets[i], cells, turn, rng):
                    negatives[label][(i, *key)] = features
            for label in present:
                self._learn(label, cells[label], positives[label], list(negatives[label].values()))

    def _cells(self, boxes: Tensor) -> tuple[int, int]:
        """Rows and columns of the window for a class with these boxes ``(N, 4)``."""
        size = boxes[:, 2:] - boxes[:, :2]
        aspect = float((size[:, 0] / size[:, 1]).median())
        return max(3, round((self.area / aspect) ** 0.5)), max(3, round((self.area * aspect) ** 0.5))

    def _negatives(
        self,
        image: np.ndarray,
        target: dict[str, Tensor],
        cells: dict[int, tuple[int, int]],
        turn: int,
        rng: np.random.Generator,
    ) -> Iterator[tuple[tuple[int, int, int], int, np.ndarray]]:
        """Windows ((level, row, column), label, features) away from the class's objects.

        In turn 0 two of each level at random, later the ``hardest`` with the highest scores, if these are high. What
        overlaps an object is dropped from these; nothing takes its place.
        """
        for number, level in enumerate(self._levels(image, cells.values())):
            for label, (rows, columns) in cells.items():
                if turn == 0:
                    there = np.maximum(np.array(level.features.shape[:2]) - (rows - 2, columns - 2), 0)
                    best = rng.integers(0, there.prod(), 2) if there.all() else np.zeros(0, int)
                else:
                    scores = self._scores(level.features, label)
                    there = scores.shape
                    best = np.argsort(-scores, axis=None)[: self.hardest]
                    best = best[scores.ravel()[best] > HARD_ABOVE]
                places = np.unravel_index(best, there)
                windows = window_boxes(*places, (rows - 1, columns - 1), level.scale)
                boxes = box_of(windows, self.margin)
                own = target["boxes"][target["labels"] == label]
                away = (box_iou(boxes, own) < NEGATIVE_BELOW).all(dim=1)
                for row, column in np.stack(places, axis=1)[away.numpy()].tolist():
                    part = level.features[row : row + rows - 1, column : column + columns - 1]
                    yield (number, row, column), label, part.ravel()

    def _learn(self, label: int, cells: tuple[int, int], positives: list, negatives: list) -> None:
        x = np.concatenate([positives, negatives]).astype(np.float32)
        y = np.r_[np.ones(len(positives)), -np.ones(len(negatives))]
        # HoG's entries are small: without scaling, the regularized intercept could not follow (LinearSVC's docs)
        svm = LinearSVC(C=self.C, class_weight="balanced", intercept_scaling=10, random_state=0, max_iter=5000)
        svm.fit(x, y)
        rows, columns = cells
        name = self.classes[label - 1]
        self.parameters[f"{name}.template"] = torch.tensor(svm.coef_, dtype=torch.float32).reshape(
            rows - 1, columns - 1, 36
        )
        self.parameters[f"{name}.bias"] = torch.tensor(svm.intercept_, dtype=torch.float32)

    # ------------------------------------------------------------------------------------------------ detection

    def _levels(self, image: np.ndarray, cells: Iterable[tuple[int, int]]) -> list[Level]:
        """The picture at all sizes that hold a window of one of the shapes (rows, columns)."""
        smallest = CELL * min(rows for rows, _ in cells), CELL * min(columns for _, columns in cells)
        return pyramid(image, smallest, step=self.step, upsample=self.largest)

    def _scores(self, features: np.ndarray, label: int) -> np.ndarray:
        name = self.classes[label - 1]
        return score(features, self.parameters[f"{name}.template"].numpy()) + self.parameters[f"{name}.bias"].item()

    def _detect(self, image: np.ndarray) -> dict[str, Tensor]:
        templates = {
            label: self.parameters[f"{name}.template"]
            for label, name in enumerate(self.classes, 1)
            if f"{name}.template" in self.parameters
        }
        with self.stages("features"):
            levels = self._levels(image, [(len(one) + 1, len(one[0]) + 1) for one in templates.values()])
        boxes, labels, scores = [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0)]
        with self.stages("templates"):
            for label, template in templates.items():
                for level in levels:
                    all_scores = self._scores(level.features, label)
                    places = np.nonzero(all_scores > REPORTED_ABOVE)
                    windows = window_boxes(*places, tuple(template.shape[:2]), level.scale)
                    boxes.append(box_of(windows, self.margin))
                    scores.append(torch.from_numpy(all_scores[places]))
                    labels.append(torch.full((len(windows),), label))
        found = {"boxes": torch.cat(boxes), "labels": torch.cat(labels), "scores": torch.cat(scores)}
        with self.stages("suppression"):
            height, width = image.shape[:2]
            found["boxes"] = clip_boxes_to_image(found["boxes"], (height, width))
            keep = batched_nms(found["boxes"], found["scores"], found["labels"], NMS_ABOVE)[:MOST]
        return {key: value[keep] for key, value in found.items()}


class Faces(HogSvm):
    """The same with what suits faces of `course_utils.datasets.faces`: more cells, more margin, smaller steps."""

    system = "faces"

    def __init__(
        self,
        *,
        area: int = 100,
        margin: float = 0.2,
        step: float = 2**0.2,
        largest: float = 2.0,
        C: float = 0.01,
        rounds: int = 3,
        scanned: int = 500,
        hardest: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(
            area=area, margin=margin, step=step, largest=largest, C=C,
            rounds=rounds, scanned=scanned, hardest=hardest, seed=seed,
        )  # fmt: skip
