"""Both heads and the whole network, from pixels."""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from course_utils.localization.data import Examples, varied
from course_utils.localization.heads import LOSSES, Localizer, box_of_class
from course_utils.training import History, minibatches, sgd, train, warm_cosine

BATCH = 32
BOX_WEIGHT = 10.0  # the box's loss, in unit coordinates, is much smaller than the cross-entropy
CLIP = 5.0  # largest norm of a gradient: a new head begins with large errors


def two_losses(out: tuple[Tensor, Tensor], boxes: Tensor, labels: Tensor, loss: str) -> dict[str, Tensor]:
    """Of both heads' outputs: one of `LOSSES` for the box of the *true* class, cross-entropy for the class."""
    found, scores = out
    return {
        "box": BOX_WEIGHT * LOSSES[loss](box_of_class(found, labels), boxes),
        "class": F.cross_entropy(scores, labels - 1),
    }


def train_jointly(
    model: Localizer,
    data: Examples,
    *,
    epochs: int,
    loss: str = "smooth_l1",
    rate: float = 0.01,
    seed: int = 0,
    device: str = "cpu",
    key: str | None = None,
    each_epoch: Callable[[int], None] | None = None,
) -> History:
    """Train all of a network in place, on pictures that are never the same twice; see `varied`.

    ``loss`` is one of `LOSSES`, ``rate`` the largest learning rate; the rest is as for `course_utils.training.train`.
    """
    steps = max(1, len(data) // BATCH)  # what is left over is dropped: normalization needs more than one picture

    def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
        for i in islice(minibatches(len(data), BATCH, rng), steps):
            yield *varied(data.pixels[i], data.boxes[i], rng), data.labels[i]

    return train(
        model,
        batches,
        lambda model, batch: two_losses(model(batch[0]), *batch[1:], loss),
        steps=steps,
        epochs=epochs,
        optimizer=sgd(rate),
        schedule=warm_cosine,
        clip=CLIP,
        seed=seed,
        device=device,
        key=key,
        each_epoch=each_epoch,
        what="network and heads",
    )
