"""The course's training loop against a bare loop over the same network, batches and optimizer.

    python benchmarks/training.py            # about two minutes

Both run in turn on equal threads, so that a busy machine slows both. Wanted: at most 10 % more time per picture.
"""

import os
import tempfile
import time
from statistics import median

import numpy as np
import torch
from torch.nn import functional as F

from course_utils import training
from course_utils.classification import initial
from course_utils.timing import limited_threads
from course_utils.training import adamw, constant, minibatches, train

PICTURES, BATCH, REPEATS, WANTED = 256, 32, 7, 1.10
X = torch.randn(PICTURES, 3, 128, 128).contiguous(memory_format=torch.channels_last)
Y = torch.randint(0, 24, (PICTURES,))


def batches(rng: np.random.Generator):
    """The same pictures in another order."""
    return ((X[i], Y[i]) for i in minibatches(PICTURES, BATCH, rng))


def loss_of(model, batch):
    """What both loops minimize."""
    return F.cross_entropy(model(batch[0]), batch[1])


def bare() -> None:
    """What anybody would write first: no checkpoints, no progress, no seeds of epochs."""
    model = initial(24, 0).train()
    optimizer = adamw(1e-3)(list(model.parameters()))
    for batch in batches(np.random.default_rng(0)):
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def ours(key: str | None) -> None:
    """One epoch of the course's loop, with a checkpoint at its end if there is a key."""
    train(
        initial(24, 0), batches, loss_of, steps=PICTURES // BATCH, epochs=1,
        optimizer=adamw(1e-3), schedule=constant, key=key,
    )  # fmt: skip


def seconds(fn) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


def main() -> None:
    """Print pictures per second of each loop, and the median of the ratios of neighbouring runs."""
    training.KEEP_EVERY = 0.0  # a checkpoint each epoch, far more often than in a real training
    os.environ |= {"COURSE_STATIC": "1"}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COURSE_STORE"] = folder
        for threads in (1, 2):
            with limited_threads(threads):
                bare(), ours(None)
                rows = [
                    (seconds(bare), seconds(lambda: ours(None)), seconds(lambda k=k, t=threads: ours(f"run{t}-{k}")))
                    for k in range(REPEATS)
                ]
            plain, loop, kept = (median(column) for column in zip(*rows))
            ratios = [median(row[column] / row[0] for row in rows) for column in (1, 2)]
            print(f"stand-in, batches of {BATCH}, {threads} thread{'s' * (threads > 1)}, pictures per second: "
                  f"bare loop {PICTURES / plain:.0f}, train() {PICTURES / loop:.0f}, with a checkpoint each "
                  f"{PICTURES} pictures {PICTURES / kept:.0f}; ratios of time {ratios[0]:.3f} and {ratios[1]:.3f} "
                  f"(wanted: at most {WANTED})")  # fmt: skip


if __name__ == "__main__":
    main()
