"""A mistake planted in the package, and the tests that must notice it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One planted mistake: ``old``, which stands exactly once in ``file``, becomes ``new``."""

    breaks: str
    file: str
    old: str
    new: str
    red: str  # tests that must fail: file::name, several divided by spaces
