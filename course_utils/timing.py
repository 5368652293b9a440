"""One way to time things: warm up, equal threads, repeat, take the median; and seconds per stage."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs, in the order in which they ran."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """Slowest minus fastest run; a spread near the median means that the machine was busy."""
        return max(self.seconds) - min(self.seconds)

    def __str__(self) -> str:
        factor, unit = (1, "s") if self.median >= 1 else (1e3, "ms") if self.median >= 1e-3 else (1e6, "µs")
        return (
            f"{factor * self.median:.3g} {unit} "
            f"(median of {len(self.seconds)}, spread {factor * self.spread:.2g} {unit})"
        )


def measure(fn: Callable[[], Any], *, repeats: int = 5, warmup: int = 1, threads: int = 1) -> Timing:
    """Time ``fn()``: ``warmup`` runs that do not count, then ``repeats`` that do, on ``threads`` threads.

    The thread limit holds for BLAS and OpenMP (numpy, scikit-learn), and for torch and numba where they are
    loaded; afterwards it is as before. Work that ``fn`` leaves running on a GPU is waited for.
    """
    if repeats < 1 or warmup < 0 or threads < 1:
        raise ValueError(
            f"measure() wants repeats >= 1, warmup >= 0, threads >= 1; got {repeats}, {warmup}, {threads}."
        )
    with limited_threads(threads):
        for _ in range(warmup):
            fn()
        _wait_for_gpu()
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            fn()
            _wait_for_gpu()
            seconds.append(time.perf_counter() - start)
    return Timing(tuple(seconds))


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Give numerical libraries ``threads`` threads inside the block; torch and numba only if loaded."""
    torch, numba = sys.modules.get("torch"), sys.modules.get("numba")
    with threadpool_limits(threads):
        torch_before = torch.get_num_threads() if torch else None
        numba_before = numba.get_num_threads() if numba else None
        try:
            if torch:
                torch.set_num_threads(threads)
            if numba:
                numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            yield
        finally:
            if torch:
                torch.set_num_threads(torch_before)
            if numba:
                numba.set_num_threads(numba_before)


def _wait_for_gpu() -> None:
    """GPU kernels return before they have run; the clock must not stop until they have."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.synchronize()


class Stages:
    """Collect the seconds of each stage of a pipeline.

    >>> stages = Stages()
    >>> with stages("features"):
    ...     pass
    >>> list(stages.seconds)
    ['features']
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``stage``; a stage may be entered many times."""
        _wait_for_gpu()  # what was asked for before is not this stage's
        start = time.perf_counter()
        try:
            yield
        finally:
            _wait_for_gpu()
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    @property
    def total(self) -> float:
        return sum(self.seconds.values())
