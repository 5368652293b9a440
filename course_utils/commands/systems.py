"""The detectors and experiments that ``train``, ``evaluate``, ``detect`` and ``experiment`` know by name.

There are none yet. Each notebook that brings a system adds its line here, so that a new system needs no new verb.
"""

from course_utils.errors import CourseError

SYSTEMS: dict[str, str] = {}
EXPERIMENTS: dict[str, str] = {}


def known(table: dict[str, str]) -> str:
    """The names in a table, for a message or a help text."""
    return ", ".join(sorted(table)) or "none yet; they come with the notebooks from 01_boxes_and_metrics on"


def unknown(kind: str, name: str, table: dict[str, str]) -> CourseError:
    """The one error for a name that is in no table; it lists the names that are."""
    return CourseError(f"there is no {kind} {name!r}. Registered {kind}s: {known(table)}.")
