"""How good is one rigid template per class on ToyVOC, how much does the seed matter, and what does mining bring?"""

from course_utils.datasets import open_dataset
from course_utils.detectors.base import fit_or_recall
from course_utils.detectors.hog_svm import HogSvm
from course_utils.evaluation import evaluate
from course_utils.results import Row

SETTINGS = ({"seed": 0}, {"seed": 1}, {"seed": 2}, {"rounds": 1}, {"rounds": 0})


def run() -> list[Row]:
    """One row on ToyVOC's test part for each of `SETTINGS`: three seeds, then fewer rounds of hard negatives."""
    train, test = open_dataset("toyvoc", "train"), open_dataset("toyvoc", "test")
    return [
        evaluate(fit_or_recall(HogSvm(**setting), train), test, command="course experiment hog_svm")
        for setting in SETTINGS
    ]
