"""The training loop of all networks of the course: batches, loss, checkpoints that a killed process goes on from.

Several processes may train one network together, see `joined_processes`. On a GPU, and with several of them, this has
not been measured.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.optim import SGD, AdamW, Optimizer

from course_utils.errors import CourseError
from course_utils.progress import progress, static_mode
from course_utils.store import Journal, Store

KEEP_EVERY = 10.0  # seconds of training between two checkpoints, at least; they are written where an epoch ends
ANNOUNCED_AFTER = 5  # steps, after which the first guess of the duration is told

Batches = Callable[[np.random.Generator], Iterable[Any]]
"""The batches of one epoch, drawn with this generator."""
Loss = Callable[[nn.Module, Any], Tensor | dict[str, Tensor]]
"""Network and batch (on the network's device) to a scalar, or to several by name that are added up."""
History = dict[str, list[float]]
"""By name of the loss (``loss`` alone or for the sum), its mean over each epoch."""


def minibatches(n: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The numbers 0 to n - 1 in random order, ``size`` at a time; the last batch has what is left."""
    order = rng.permutation(n)
    return (order[start : start + size] for start in range(0, n, size))


def sgd(lr: float, *, momentum: float = 0.9, weight_decay: float = 5e-4) -> Callable[[list[nn.Parameter]], Optimizer]:
    """What makes the usual optimizer of parameters; biases and normalization are not decayed."""
    return lambda parameters: SGD(_groups(parameters), lr, momentum=momentum, weight_decay=weight_decay)


def adamw(lr: float, *, weight_decay: float = 0.02) -> Callable[[list[nn.Parameter]], Optimizer]:
    """The same for Adam with decoupled decay (Loshchilov and Hutter, ICLR 2019)."""
    return lambda parameters: AdamW(_groups(parameters), lr, weight_decay=weight_decay)


def _groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    decayed = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def constant(t: float) -> float:
    """The same learning rate from beginning to end."""
    return 1.0


def warm_cosine(t: float, warm: float = 0.1) -> float:
    """Learning rate as a part of its maximum, at part ``t`` of the training: up in a line, then down half a cosine."""
    return t / warm if t < warm else (1 + math.cos(math.pi * (t - warm) / (1 - warm))) / 2


def train(
    model: nn.Module,
    batches: Batches,
    loss_of: Loss,
    *,
    steps: int,
    epochs: int,
    optimizer: Callable[[list[nn.Parameter]], Optimizer],
    schedule: Callable[[float], float] = constant,
    clip: float | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    key: str | None = None,
    each_epoch: Callable[[int], None] | None = None,
    what: str = "training",
) -> History:
    """Train the network in place; it stays on ``device``, in evaluation mode.

    Parameters
    ----------
    model : Module
        Parameters that need no gradient stay as they are.
    batches : function of a numpy generator
        The batches of one epoch, tensors in a tuple, list or dictionary each; they are brought to the device. The
        generator, like torch's own, is seeded anew for each epoch from ``seed``.
    loss_of : function of network and batch
        A scalar, or a dictionary of scalars whose sum is minimized.
    steps, epochs : int
        Batches in an epoch, and how many epochs.
    optimizer : function of a list of parameters
        Such as `sgd` (0.1).
    schedule : function of the part of the training that is done, 0 to 1
        What the optimizer's learning rates are multiplied with.
    clip : float, optional
        Gradients are scaled down to this norm where theirs is larger.
    seed : int
        Same seed, same machine, same threads: same parameters. It does not enter the network's initial values.
    key : str, optional
        Of the result in the store (`course_utils.store.key_of` of all that decides it, the initial values included).
        With it, checkpoints are kept at the ends of epochs, a killed training goes on from the last one and ends with
        the bytes of an uninterrupted one, and a finished one is not repeated. None: nothing is kept.
    each_epoch : function of the number of epochs done, optional
        Called after each epoch that runs, to watch; the network is in evaluation mode meanwhile.
    what : str
        Name of the progress bar.

    Returns
    -------
    dict
        Mean of each loss over each epoch. Raises `CourseError` if a loss is no number any more, if an epoch has other
        than ``steps`` batches, or the network nothing to train.
    """
    loop = _Loop(model, batches, loss_of, steps, epochs, optimizer, schedule, clip, seed, device, each_epoch, what)
    if key is None:
        loop.run(None)
        return loop.history
    store = Store()

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        loop.run(store.journal("training", key))
        return model.state_dict(), {"history": loop.history}

    if processes()[1] == 1:
        state, info = store.keep("training", key, make)
    else:  # keep() would let one process wait for the other, which waits for its gradients
        found = store.read("training", key)
        distributed.barrier()
        state, info = found or make()
        if found is None and processes()[0] == 0:
            store.write("training", key, state, info)
    model.load_state_dict(state)
    model.to(device).eval()
    return info["history"]


class _Loop:
    """The state of one training between two epochs."""

    def __init__(
        self, model, batches, loss_of, steps, epochs, optimizer, schedule, clip, seed, device, each_epoch, what
    ) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        if not self.parameters:
            raise CourseError(f"{what}: no parameter of the network needs a gradient, so there is nothing to train.")
        self.model, self.batches, self.loss_of = model.to(device), batches, loss_of
        self.steps, self.epochs, self.schedule, self.clip = steps, epochs, schedule, clip
        self.seed, self.device, self.each_epoch, self.what = seed, torch.device(device), each_epoch, what
        self.optimizer = optimizer(self.parameters)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.done, self.history = 0, {}
        self.rank, self.world = processes()

    def run(self, journal: Journal | None) -> None:
        """All epochs, or those after the journal's checkpoint."""
        if journal is not None:
            for tensors, info in journal.parts():
                self._restore(tensors, info)
            if self.world > 1:
                distributed.barrier()  # all have read before one writes
        left = (self.epochs - self.done) * self.steps
        bar = progress(range(left), self.what + f" (after epoch {self.done})" * bool(self.done))
        begun = last = time.monotonic()
        # the caller's random numbers go on as if nothing had been drawn in between
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            while self.done < self.epochs:
                self._epoch(bar, begun if left == (self.epochs - self.done) * self.steps else None)
                if self.each_epoch is not None:
                    self.each_epoch(self.done)
                if journal is not None and self.rank == 0 and time.monotonic() - last >= KEEP_EVERY:
                    journal.replace(*self._checkpoint())
                    last = time.monotonic()
        next(bar, None)  # closes it
        self.model.eval()
        if left and not static_mode():
            _tell(f"{self.what}: {_minutes(time.monotonic() - begun)}.")

    def _epoch(self, bar: Iterator[int], begun: float | None) -> None:
        """One epoch; ``begun`` is given in the first one that runs, which tells the duration beforehand."""
        torch.manual_seed(int(np.random.default_rng([self.seed, self.done, 1]).integers(2**63)))
        self.model.train()
        sums: dict[str, Tensor] = {}
        count = 0
        for batch in self.batches(np.random.default_rng([self.seed, self.done])):
            if count == self.steps:
                count += 1
                break
            t = (self.done + count / self.steps) / self.epochs
            for group, rate in zip(self.optimizer.param_groups, self.rates):
                group["lr"] = rate * self.schedule(t)
            if self.world > 1:
                batch = share(batch, self.rank, self.world)
            losses = self.loss_of(self.model, to_device(batch, self.device))
            if isinstance(losses, Tensor):
                losses = {"loss": losses}
            else:
                losses = losses | {"loss": sum(losses.values())}
            self.optimizer.zero_grad()
            losses["loss"].backward()
            if self.world > 1:
                self._average([p.grad for p in self.parameters if p.grad is not None])
            if self.clip is not None:
                nn.utils.clip_grad_norm_(self.parameters, self.clip)
            self.optimizer.step()
            for name, value in losses.items():  # summed where they are: reading a number would wait for a GPU
                sums[name] = sums.get(name, 0) + value.detach()
            next(bar)
            count += 1
            if begun is not None and count == ANNOUNCED_AFTER and not static_mode():
                guess = (time.monotonic() - begun) / count * self.steps * (self.epochs - self.done)
                _tell(f"{self.what}: {self.epochs - self.done} epochs of {self.steps} batches, {_minutes(guess)}.")
        if count != self.steps:
            more = "more" if count > self.steps else str(count)
            raise CourseError(f"{self.what}: an epoch was to have {self.steps} batches; batches() gave {more}.")
        self.model.eval()
        self.done += 1
        if self.world > 1:
            self._average(list(sums.values()))
            self._average([value for value in self.model.buffers() if value.is_floating_point()])
        for name, value in sums.items():
            self.history.setdefault(name, []).append(value.item() / count)
        if not math.isfinite(self.history["loss"][-1]):
            raise CourseError(
                f"{self.what}: the loss was no number any more in epoch {self.done}. Try a smaller learning rate."
            )

    def _average(self, values: list[Tensor]) -> None:
        """Each tensor becomes its mean over the processes."""
        for value in values:
            distributed.all_reduce(value)
            value /= self.world

    def _checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next epoch begins with. Random numbers need no state: each epoch has seeds of its own."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": v for name, v in state.items() if isinstance(v, Tensor)}
        return tensors, {"done": self.done, "history": self.history}

    def _restore(self, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
        self.done, self.history = info["done"], info["history"]
        state: dict[int, dict[str, Tensor]] = {}
        model: dict[str, Tensor] = {}
        for name, value in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "model":
                model[rest] = value
            else:
                number, entry = rest.split(".", 1)
                state.setdefault(int(number), {})[entry] = value
        self.model.load_state_dict(model)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def check_device(name: str) -> str:
    """The same name; raises `CourseError` if this machine has no such device."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise CourseError(
            f"There is no device {name!r} here ({str(error).splitlines()[0]}). "
            'Wanted "cpu", or "cuda" where `course doctor` finds a GPU.'
        ) from error
    return name


def processes() -> tuple[int, int]:
    """Number of this process, and how many train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@contextmanager
def joined_processes(device: str = "cpu") -> Iterator[None]:
    """Inside the block the processes that ``torchrun`` started train together; alone, a process just goes on.

    Each computes a part of every batch, gradients are averaged: the result is that of one process but for rounding and
    for statistics of batch normalization, which are each part's own. With "cuda", each takes the GPU of its number.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def share(batch: Any, rank: int, world: int) -> Any:
    """A process's part of a batch: of each tensor or list in it every ``world``-th entry, from number ``rank`` on."""
    if isinstance(batch, dict):
        return {name: value[rank::world] for name, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(value[rank::world] for value in batch)
    return batch[rank::world]


def to_device(batch: Any, device: torch.device) -> Any:
    """The same tuple, list or dictionary with its tensors on the device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def _minutes(seconds: float) -> str:
    return f"about {seconds / 60:.1f} minutes" if seconds >= 60 else f"about {seconds:.0f} seconds"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
