"""A notebook says at the top how long it takes and at the end how long it took."""

import time

from course_utils.notebook.series import notebook
from course_utils.progress import static_mode


class Budget:
    """Print the minutes that notebook ``name`` may take; `report`, in the last code cell, what it took.

    In static mode the report names the budget alone: stored outputs hold no measured seconds.
    """

    def __init__(self, name: str):
        self.minutes = notebook(name).minutes
        self._start = time.perf_counter()
        print(f"This notebook takes about {_minutes(self.minutes)} on a laptop (one core, no GPU).")

    def report(self) -> None:
        """Print how long the notebook took."""
        if static_mode():
            print(f"Budget of this notebook: {_minutes(self.minutes)}.")
            return
        used = time.perf_counter() - self._start
        print(f"Used {used:.0f} s of {60 * self.minutes} s.")


def _minutes(count: int) -> str:
    return "1 minute" if count == 1 else f"{count} minutes"
