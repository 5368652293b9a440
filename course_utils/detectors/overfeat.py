"""OverFeat: a classifier and a box regressor run densely over a pyramid of pictures, their boxes merged greedily.

Sermanet et al., "OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks", ICLR 2014
(arXiv 1312.6229). Differences: a small network, both heads trained at once, trunk included; a window belongs to an
object by its IoU with the square about the object's box, so that elongated objects have windows too; ours is a reading
of the match score (`course_utils.overfeat.merging`).
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.optim import AdamW
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from course_utils.datasets.base import Dataset
from course_utils.detectors.base import Detector, name_and_digest
from course_utils.errors import DataError
from course_utils.networks import Backbone, open_backbone
from course_utils.networks.backbone import normalized
from course_utils.overfeat.merging import greedy_merge
from course_utils.overfeat.network import (
    BEYOND,
    POOL,
    TwoHeads,
    batch_losses,
    boxes_of,
    training_batch,
    windows_of,
)
from course_utils.store import key_of
from course_utils.training import check_device, minibatches, train, warm_cosine

BATCH, RATE = 16, 2e-3
RIM = 24  # pixels of mean colour around each level: windows may reach over the border of the picture
REPORTED_ABOVE = 0.05  # probability of a class
MOST_WINDOWS, MOST = 200, 100  # windows that are merged, and detections, per image at most
NMS_ABOVE = 0.4
MERGINGS = ("greedy", "nms", "best")


class OverFeat(Detector):
    """Windows of several sizes, each with a class and a box, merged.

    Parameters
    ----------
    pretrained : bool
        Begin with the stand-in's layers; else with random ones.
    epochs : int
        Passes over the training pictures.
    windows : sequence of int
        Sides of the windows in pixels of the picture, one for each level of the pyramid.
    offsets : bool
        Pool at all offsets: four times as many windows.
    merging : {"greedy", "nms", "best"}
        How boxes of one class become one, see `merge`.
    seed : int
        Of initial values, crops and order.
    device : str
        Where the network runs.
    resume : bool
        Keep checkpoints, and go on from those of an interrupted training.
    """

    system = "overfeat"

    def __init__(
        self,
        *,
        pretrained: bool = True,
        epochs: int = 40,
        windows: Sequence[int] = (64, 91, 128, 181),
        offsets: bool = True,
        merging: str = "greedy",
        seed: int = 0,
        device: str = "cpu",
        resume: bool = True,
    ) -> None:
        super().__init__(seed=seed)
        if epochs < 1 or not windows or min(windows) < 8 or merging not in MERGINGS:
            raise DataError(
                f"overfeat wants epochs >= 1, windows of 8 pixels or more, and merging {' or '.join(MERGINGS)}; got "
                f"{epochs}, {list(windows)} and {merging!r}."
            )
        self.pretrained, self.epochs, self.windows = pretrained, epochs, list(windows)
        self.offsets, self.merging = offsets, merging
        self.device, self.resume = check_device(device), resume
        self.network: TwoHeads | None = None

    # ------------------------------------------------------------------------------------------------- training

    def _fit(self, dataset: Dataset) -> None:
        with dataset.masks_left_out():
            targets = [dataset.target(i) for i in range(len(dataset))]
        images = [dataset.image(i) for i in range(len(dataset))]
        network = self._build(open_backbone(random=not self.pretrained, seed=self.seed))

        def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
            for chosen in minibatches(len(images), BATCH, rng):
                yield training_batch([images[i] for i in chosen], [targets[i] for i in chosen], rng, network)

        train(
            network,
            batches,
            batch_losses,
            steps=-(-len(images) // BATCH),
            epochs=self.epochs,
            optimizer=lambda parameters: AdamW(parameters, RATE, weight_decay=0.01),
            schedule=warm_cosine,
            seed=self.seed,
            device=self.device,
            key=key_of(
                code=(type(self), train),
                config={"epochs": self.epochs, "begin": _digest(network)},
                data=name_and_digest(dataset),
                seed=self.seed,
            )
            if self.resume
            else None,
            what=self.system,
        )
        self.network = network
        self.parameters = {name: value.cpu() for name, value in network.state_dict().items()}

    def _build(self, backbone: Backbone) -> TwoHeads:
        with torch.random.fork_rng([]):
            torch.manual_seed(self.seed)
            return TwoHeads(backbone, len(self.classes) + 1)

    def _restored(self) -> None:
        self.network = self._build(open_backbone(random=True))
        self.network.load_state_dict(self.parameters)
        self.network.to(self.device).eval()

    # ------------------------------------------------------------------------------------------------ detection

    def _detect(self, image: np.ndarray) -> dict[str, Tensor]:
        with self.stages("network"):
            boxes, scores = self.candidates(image)
        with self.stages("merging"):
            return merge(boxes, scores, self.merging)

    @torch.inference_mode()
    def candidates(self, image: np.ndarray, windows: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """What the network says of all windows of a picture, of these sides (None: the detector's).

        Returns
        -------
        boxes, scores : Tensor
            ``(N, 4)``, cut to the picture, and probabilities ``(N, K + 1)``, background first.
        """
        network, boxes, scores = self.network, [], []
        for window in windows or self.windows:
            found, edges, (sx, sy) = self._maps(image, window)
            places = windows_of(*edges.shape[1:], self._apart, network.window) - RIM
            boxes.append(boxes_of(places, edges.flatten(1).T) / torch.tensor([sx, sy, sx, sy]))
            scores.append(found.flatten(1).T)
        return clip_boxes_to_image(torch.cat(boxes), image.shape[:2]), torch.cat(scores)

    def class_map(self, image: np.ndarray, name: str, window: int) -> Tensor:
        """Probability ``(rows, columns)`` of a class for all windows of this side, one run of the network."""
        return self._maps(image, window)[0][1 + self.classes.index(name)]

    @torch.inference_mode()
    def _maps(self, image: np.ndarray, window: int) -> tuple[Tensor, Tensor, tuple[float, float]]:
        """Probabilities ``(K + 1, r, c)`` and edges ``(4, r, c)`` of one level, and its scales in x and y."""
        level, scales = pyramid_level(image, self.network.window / window, self.network.window, self._apart)
        x = normalized(torch.from_numpy(level).permute(2, 0, 1)[None]).to(self.device)
        scores, edges = (one[0].cpu() for one in self.network(x, offsets=self.offsets))
        return scores.softmax(dim=0), edges, scales

    @property
    def _apart(self) -> int:
        """Pixels between two windows of a level."""
        return self.network.stride // POOL if self.offsets else self.network.stride


def pyramid_level(image: np.ndarray, scale: float, window: int, stride: int) -> tuple[np.ndarray, tuple[float, float]]:
    """The picture at another size within a rim of the mean colour, and its true scales in x and y.

    The rim is `RIM` pixels wide, at the right and below as much wider as it takes to let the last window, ``stride``
    pixels after the one before, reach the end.
    """
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    sides = (max(window, window - (window - side - 2 * RIM) // stride * stride) for side in (height, width))
    level = np.empty((*sides, 3), np.uint8)
    level[:] = BEYOND
    resized = Image.fromarray(image).resize((width, height), Image.BILINEAR)
    level[RIM : RIM + height, RIM : RIM + width] = resized
    return level, (width / image.shape[1], height / image.shape[0])


def merge(boxes: Tensor, scores: Tensor, merging: str = "greedy") -> dict[str, Tensor]:
    """Detections made of windows.

    Parameters
    ----------
    boxes, scores : Tensor
        ``(N, 4)`` and ``(N, K + 1)``, of `OverFeat.candidates`. Each window speaks for its likeliest class, if the
        probability is above .05; of these the 200 likeliest are looked at.
    merging : {"greedy", "nms", "best"}
        Within a class: greedy merging with added scores, suppression, or the best window alone.
    """
    likeliest, labels = scores[:, 1:].max(dim=1)
    chosen = likeliest.topk(min(MOST_WINDOWS, len(likeliest))).indices
    chosen = chosen[likeliest[chosen] > REPORTED_ABOVE]
    chosen = chosen[remove_small_boxes(boxes[chosen], 1.0)]
    boxes, scores, labels = boxes[chosen], likeliest[chosen], labels[chosen] + 1
    if merging == "nms":
        keep = batched_nms(boxes, scores, labels, NMS_ABOVE)
    elif merging == "best":
        keep = torch.tensor([int((labels == label).nonzero()[0, 0]) for label in labels.unique()], dtype=torch.int64)
    else:
        merged = [(label, greedy_merge(boxes[labels == label], scores[labels == label])) for label in labels.unique()]
        boxes = torch.cat([boxes[:0], *(one.boxes for _, one in merged)])
        scores = torch.cat([scores[:0], *(one.scores for _, one in merged)])
        labels = torch.cat([labels[:0], *(label.repeat(len(one.boxes)) for label, one in merged)])
        keep = torch.arange(len(boxes))
    keep = keep[scores[keep].argsort(descending=True, stable=True)][:MOST]
    return {"boxes": boxes[keep], "labels": labels[keep], "scores": scores[keep]}


def _digest(network: TwoHeads) -> str:
    """Of all values that a training begins with."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
