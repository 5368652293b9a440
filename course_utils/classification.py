"""Classification of whole pictures: the system ``standin``, whose parameters ship as the pretrained network."""

import dataclasses
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn import functional as F

from course_utils.datasets.base import Dataset
from course_utils.datasets.single import largest_object
from course_utils.detectors.base import Learned, check_image, learning_key
from course_utils.errors import DataError
from course_utils.evaluation import facts_of, measuring_key, translation
from course_utils.localization.data import examples
from course_utils.networks.backbone import normalized, resized
from course_utils.networks.standin import INPUT, StandIn
from course_utils.progress import progress
from course_utils.results import Measured
from course_utils.store import Store
from course_utils.training import adamw, check_device, minibatches, train, warm_cosine

FORMAT = "classification 1"
TIGHT, WIDE = 1.05, 1.1  # the part that training sees: from so much of the object to so much of the picture (sides)
SEEN = 96  # pixels per side: in such a part objects are as large as in a whole picture at the network's input size
SMALLEST = 0.3  # but at least so much of the picture
SHAPE = 0.12  # at most so much longer or shorter, as a logarithm
COLOUR, BRIGHTNESS = 0.3, 0.3  # how far saturation and contrast, and the mean, move


class Classifier(Learned):
    """The stand-in for the ImageNet model, trained to name the one large object of a picture.

    Parameters
    ----------
    epochs : int
    batch : int
        Pictures in a step.
    rate : float
        Largest learning rate.
    seed : int
        Of initial values, order and variation of the pictures.
    device : str
        Where to compute, such as "cpu" or "cuda".
    resume : bool
        Whether checkpoints are kept in the store, so that an interrupted training goes on; what is learned is the same.
    """

    system = "standin"

    def __init__(
        self,
        *,
        epochs: int = 40,
        batch: int = 64,
        rate: float = 0.002,
        seed: int = 0,
        device: str = "cpu",
        resume: bool = True,
    ) -> None:
        super().__init__(seed=seed)
        if min(epochs, batch) < 1 or rate <= 0:
            raise DataError(f"standin wants epochs and batch >= 1, rate > 0; got {epochs}, {batch} and {rate}.")
        self.epochs, self.batch, self.rate, self.resume = epochs, batch, rate, resume
        self.device = check_device(device)

    def _fit(self, dataset: Dataset) -> None:
        data = examples(dataset, INPUT)
        pixels, boxes, labels = data.pixels, data.boxes, data.labels
        size = min(self.batch, len(labels))
        network = initial(len(self.classes), self.seed)

        def batches(rng: np.random.Generator):
            for i in minibatches(len(labels), size, rng):
                if len(i) == size:  # statistics of a short last batch would be poor; it is another one each time
                    yield varied(pixels[i], boxes[i], rng), labels[i] - 1

        train(
            network,
            batches,
            lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
            steps=len(labels) // size,
            epochs=self.epochs,
            optimizer=adamw(self.rate),
            schedule=warm_cosine,
            seed=self.seed,
            device=self.device,
            key=learning_key(self, dataset) if self.resume else None,
            what=self.system,
        )
        self.parameters = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        self._restored()

    def _restored(self) -> None:
        self._network = StandIn(len(self.classes))
        self._network.load_state_dict(self.parameters)
        self._network.to(self.device).eval()

    def classify(self, images: np.ndarray | Sequence[np.ndarray]) -> Tensor:
        """How probable each class is.

        Parameters
        ----------
        images : ndarray, or sequence of ndarray
            uint8 ``(H, W, 3)``, RGB; each is brought to 128 x 128 px.

        Returns
        -------
        Tensor
            float32 ``(N, n_classes)``; ``(n_classes,)`` for one image. Column k is ``classes[k]``. Raises `DataError`
            for anything that is no such image, `CourseError` before `fit`.
        """
        self._check_learned("classify(images)")
        if not isinstance(images, list | tuple):
            check_image(images, "classify()")
            return self.classify([images])[0]
        for image in images:
            check_image(image, "classify()")
        if not images:
            return torch.zeros(0, len(self.classes))
        with torch.inference_mode():
            scores = self._network(normalized(resized(images, INPUT)).to(self.device))
        return scores.softmax(1).cpu()


def initial(n_classes: int, seed: int) -> StandIn:
    """An untrained stand-in; torch's own random numbers are not touched."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return StandIn(n_classes)


def varied(pixels: Tensor, boxes: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures as training sees them: a part that holds the object, mirrored or not, in other colours; normalized.

    The part's side lies between that of the object and that of the picture; whole pictures alone would teach a network
    of so few pictures far slower. What lies outside the picture is its mirror image. The parts come out smaller than
    what `Classifier.classify` looks at, because an object cut out is larger than in its picture (Touvron et al.,
    "Fixing the train-test resolution discrepancy", NeurIPS 2019).

    Parameters
    ----------
    pixels : Tensor
        uint8 ``(N, 3, H, W)``.
    boxes : Tensor
        float32 ``(N, 4)``: x1 y1 x2 y2 of the object in parts of the picture.

    Returns
    -------
    Tensor
        float32 ``(N, 3, SEEN, SEEN)``.
    """
    n = len(pixels)
    corners = boxes.numpy() * 2 - 1  # as the sampling counts, from -1 to 1
    centre, half = (corners[:, :2] + corners[:, 2:]) / 2, (corners[:, 2:] - corners[:, :2]).max(1) / 2
    least = np.clip(half * TIGHT, SMALLEST, 1)
    side = least * (WIDE / least) ** rng.random(n)
    place = centre + rng.uniform(-1, 1, (n, 2)) * np.maximum(side - half, 0)[:, None]
    reach = np.maximum(WIDE - side, 0)[:, None]
    shape = np.exp(rng.uniform(-SHAPE, SHAPE, n))
    theta = np.zeros((n, 2, 3), np.float32)  # from the new picture's coordinates to the old one's
    theta[:, 0, 0] = side * shape * rng.choice([-1, 1], n)
    theta[:, 1, 1] = side / shape
    theta[:, :, 2] = np.clip(place, -reach, reach)
    grid = F.affine_grid(torch.from_numpy(theta), [n, 3, SEEN, SEEN], align_corners=False)
    x = F.grid_sample(normalized(pixels), grid, padding_mode="reflection", align_corners=False)

    def each(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (n, 1, 1, 1)).astype(np.float32))

    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * each(1 - COLOUR, 1 + COLOUR)
    x = x * each(1 - COLOUR, 1 + COLOUR) + each(-BRIGHTNESS, BRIGHTNESS)
    return x.contiguous(memory_format=torch.channels_last)


@dataclasses.dataclass(frozen=True)
class Classified(Measured):
    """What a classifier said about each picture of a data set.

    Attributes
    ----------
    info : dict
        As of `course_utils.results.Row`; ``classes`` are those of the columns.
    probabilities : Tensor
        float32 ``(N, n_classes)``.
    labels : Tensor
        int64 ``(N,)`` from 1: the truth.
    seconds : Tensor
        float32 ``(N,)``.
    """

    info: dict[str, Any]
    probabilities: Tensor
    labels: Tensor
    seconds: Tensor

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """``accuracy`` and its 95 % interval (Wilson's), ``top5``, and per class ``accuracy_of`` and ``n``."""
        place = (self.probabilities > self.probabilities.gather(1, self.labels[:, None] - 1)).sum(1)
        right = place == 0
        low, high = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        own = {name: self.labels == label for label, name in enumerate(self.classes, 1)}
        return {
            "accuracy": right.double().mean().item(),
            "accuracy_interval": [float(low), float(high)],
            "top5": (place < 5).double().mean().item(),
            "accuracy_of": {name: right[mine].double().mean().item() for name, mine in own.items()},
            "n": {name: int(mine.sum()) for name, mine in own.items()},
        }

    def __str__(self) -> str:
        found, data = self.metrics, self.info["data"]
        low, high = found["accuracy_interval"]
        lines = [f"{self.info['label']} on {data['name']}/{data['split']}: {len(self.labels)} images"]
        lines += [f"{'class':14s} {'images':>7s}  accuracy"]
        lines += [f"{name:14s} {found['n'][name]:7d}  {found['accuracy_of'][name]:.3f}" for name in self.classes
                  if found["n"][name]]  # fmt: skip
        lines += [f"accuracy {found['accuracy']:.3f}   95 % interval {low:.3f} to {high:.3f}; guessing would have "
                  f"{1 / len(self.classes):.3f}", f"right class among the first five: {found['top5']:.3f}",
                  f"{self.seconds_per_image:.2g} s per image"]  # fmt: skip
        if seen := self.info["learned_from_too"]:
            lines += [f"Beware: the classifier was trained on {seen} of these images."]
        return "\n".join(lines)


def evaluate(learned: Classifier, dataset: Dataset, *, store: Store | None = None, command: str = "") -> Classified:
    """Classify every picture, or take from the store what the same code found before.

    The truth is the class of a picture's largest object that is not difficult; pictures without one, or with a class
    that the classifier does not know, are left out. Raises `DataError` if none is left.
    """
    names = {theirs: own for own, theirs in translation(learned.classes, dataset.classes).items()}
    key = measuring_key(learned, dataset, (_run, translation))

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        info = facts_of(learned, dataset, learned.classes, command) | {
            "format": FORMAT,
            "stage_seconds": {},
            "key": key,
        }
        return _run(learned, dataset, names), info

    tensors, info = (store or Store()).keep("classifications", key, make)
    return Classified(info, tensors["probabilities"], tensors["labels"], tensors["seconds"])


def _run(learned: Classifier, dataset: Dataset, names: dict[str, str]) -> dict[str, Tensor]:
    """Probabilities, true labels and seconds of the pictures whose class has a name of the classifier's."""
    probabilities, labels, seconds = [], [], []
    with dataset.masks_left_out():
        for i in progress(range(len(dataset)), f"{learned.system} on {dataset.name}"):
            target = dataset.target(i)
            main = largest_object(target)
            name = None if main is None else names.get(dataset.classes[int(target["labels"][main]) - 1])
            if name is None:
                continue
            image = dataset.image(i)
            if not labels:
                learned.classify(image)  # warms up; not counted
            start = time.perf_counter()
            probabilities.append(learned.classify(image))
            seconds.append(time.perf_counter() - start)
            labels.append(learned.classes.index(name) + 1)
    if not labels:
        raise DataError(
            f"This {learned.system} knows {', '.join(learned.classes)}, and no picture of {dataset!r} shows "
            "one of them. Train it on this data set, or choose another one."
        )
    return {
        "probabilities": torch.stack(probabilities),
        "labels": torch.tensor(labels),
        "seconds": torch.tensor(seconds, dtype=torch.float32),
    }
