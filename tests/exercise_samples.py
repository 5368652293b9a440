"""A small set of exercises of all kinds, on which the tests show that the machinery works."""

from course_utils.notebook.exercises import Exercise, Mistake, quiz


def _check_area(area) -> str | None:
    if area([0, 0, 2, 3]) != 6:
        return "A box of 2 by 3 has area 6: width times height, no +1."
    if area([1, 1, 3, 4]) != 6:
        return "Moving a box must not change its area: use x2 - x1."
    return None


def _check_count(count_large) -> str | None:
    if count_large([1.0, 5.0, 5.0, 9.0], 5.0) == 3:
        return None
    return "A value equal to the threshold counts as large."


def _check_counter(Counter) -> str | None:
    counter = Counter()
    counter.add(3)
    counter.add(4)
    return None if counter.total == 7 else "Two calls of add must both count."


EXERCISES = (
    quiz(
        "01.conv_size",
        "A 5 x 5 convolution with stride 2 and padding 2 runs over 32 x 32 pixels. How wide is its output?",
        right=16,
        because="(32 + 2 * 2 - 5) // 2 + 1 = 16.",
        wrong={14: "You forgot the padding.", 32: "You forgot the stride."},
    ),
    quiz(
        "01.background",
        "Which label has the background?",
        right="a",
        because="Label 0 is kept free for it.",
        wrong={"b": "Classes begin at 1.", "c": "Only masks have a void value."},
        options={"a": "0", "b": "1", "c": "255"},
    ),
    quiz(
        "01.log2",
        "What is log(2)?",
        right=0.693,
        because="e ** 0.693 = 2.",
        tolerance=0.002,
        wrong={0.301: "That is the logarithm to base 10.", 1.0: "That is to base 2."},
    ),
    Exercise(
        "01.area",
        "Write the area of a box x1 y1 x2 y2.",
        stub="""
            def area(box):
                raise NotImplementedError
        """,
        solution="""
            def area(box):
                return (box[2] - box[0]) * (box[3] - box[1])
        """,
        check=_check_area,
        mistakes=(
            Mistake("def area(box):\n    return box[2] * box[3]", "Moving a box"),
            Mistake("def area(box):\n    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)", "no +1"),
            Mistake("def area(box):\n    # wider\n    return box.width * box.height", "AttributeError in line 4"),
        ),
    ),
    Exercise(
        "01.scale",
        "Double a box.",
        stub="def scale(box):\n    ...",
        solution="def scale(box):\n    return [2 * v for v in box]",
        check=lambda scale: None if scale([1, 2]) == [2, 4] else "Every number doubles.",
        mistakes=(
            Mistake("def scale(box):\n    return 2 * box", "Every number"),
            Mistake("def scale(box):\n    return [v + 2 for v in box]", "Every number"),
        ),
    ),
    Exercise(
        "01.Counter",
        "Write a class with add(n) and total.",
        stub="class Counter:\n    total = 0\n\n    def add(self, n):\n        raise NotImplementedError",
        solution="class Counter:\n    total = 0\n\n    def add(self, n):\n        self.total += n",
        check=_check_counter,
        mistakes=(
            Mistake("class Counter:\n    total = 0\n\n    def add(self, n):\n        self.total = n", "both count"),
            Mistake("class Counter:\n    def add(self, n):\n        self.total += n", "line 4"),
        ),
    ),
    Exercise(
        "01.count_large",
        "Find the bug: three of these four values should count.",
        stub="def count_large(values, threshold):\n    return int((np.array(values) > threshold).sum())",
        solution="def count_large(values, threshold):\n    return int((np.array(values) >= threshold).sum())",
        check=_check_count,
        mistakes=(
            Mistake("def count_large(values, threshold):\n    return len(values)", "counts as large"),
            Mistake("def count_large(values, threshold):\n    return 1", "counts as large"),
        ),
        setup="import numpy as np",
        kind="find-the-bug",
    ),
)
