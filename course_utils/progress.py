"""Progress bars that keep quiet while outputs are being stored or checked."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


def static_mode() -> bool:
    """True when ``COURSE_STATIC=1``: outputs are being stored or checked, so they must never vary."""
    return os.environ.get("COURSE_STATIC") == "1"


def progress(steps: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Go through ``steps`` with a bar that is called ``what``; no bar in static mode.

    Where no terminal shows the bar it is renewed once in ten seconds only, so that logs stay short. ``total``
    is needed where ``steps`` has no length.
    """
    rare = {} if sys.stderr.isatty() or "ipykernel" in sys.modules else {"mininterval": 10.0}
    return iter(tqdm(steps, desc=what, total=total, disable=static_mode(), **rare))


def note(text: str) -> None:
    """Print a line on stderr, above the bars; none in static mode."""
    if not static_mode():
        tqdm.write(text, file=sys.stderr)
