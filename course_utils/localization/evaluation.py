"""`evaluate` for the task of localization: the same rows as every detector's, with one object per picture."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from course_utils import evaluation
from course_utils.datasets.base import Dataset
from course_utils.datasets.single import LargestObject
from course_utils.detectors.localization import Localization
from course_utils.detectors.trivial import MeanBox
from course_utils.localization.judging import NAMES, gains, judge, shares_of
from course_utils.results import Row
from course_utils.store import Store


@dataclass(frozen=True)
class Localized:
    """What a localizer found, beside the mean box of the same training data.

    Attributes
    ----------
    row, mean_box : Row
        One guess for each class in every picture.
    """

    row: Row
    mean_box: Row

    @property
    def info(self) -> dict[str, Any]:
        return self.row.info

    @property
    def classes(self) -> tuple[str, ...]:
        return self.row.classes

    @property
    def seconds_per_image(self) -> float:
        """Median over the images."""
        return self.row.seconds_per_image

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """For each of `NAMES` the share, its 95 % interval, the mean box's share, and what is gained over it.

        ``gained`` is the difference with the ends of its interval, from a paired bootstrap over the pictures.
        """
        ours, theirs = (judge(row.detections, row.targets) for row in (self.row, self.mean_box))
        own, mean_box, gained = shares_of(ours), shares_of(theirs), gains(ours, theirs)
        return {
            name: {
                "share": own[name][0],
                "interval": own[name][1:],
                "mean_box": mean_box[name][0],
                "gained": gained[name],
            }
            for name in NAMES
        }

    def __str__(self) -> str:
        data = self.info["data"]
        lines = [
            f"{self.row.name} on {data['name']}/{data['split']}: {len(self.row.targets)} images, the largest object"
        ]
        lines += [f"{'':22s} share  95 % interval    mean box  gained"]
        for name, words in NAMES.items():
            one = self.metrics[name]
            (low, high), (gained, least, most) = one["interval"], one["gained"]
            lines += [
                f"{words:22s} {one['share']:.3f}  {low:.3f} to {high:.3f}   {one['mean_box']:.3f}   "
                f"{gained:+.3f} ({least:+.3f} to {most:+.3f})"
            ]
        lines += [f"right box: IoU >= .5; {self.seconds_per_image:.2g} s per image"]
        if seen := self.info["learned_from_too"]:
            lines += [f"Beware: it was trained on {seen} of these images."]
        return "\n".join(lines)


def evaluate(learned: Localization, dataset: Dataset, *, store: Store | None = None, command: str = "") -> Localized:
    """Run the localizer on every picture with an object that is not difficult; see `course_utils.evaluation.evaluate`.

    ``learned`` gives one guess for each class from then on.
    """
    learned.guesses = len(learned.classes)
    mean_box = MeanBox(seed=learned.seed)
    mean_box._take(learned.part("mean_box"), learned._info())
    one = dataset if isinstance(dataset, LargestObject) else LargestObject(dataset)
    rows = (evaluation.evaluate(each, one, store=store, command=command) for each in (learned, mean_box))
    return Localized(*rows)
