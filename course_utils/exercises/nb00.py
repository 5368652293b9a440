"""Exercises of notebook 00: the ten questions, and the first steps with boxes."""

import numpy as np

from course_utils.notebook.exercises import Exercise, Mistake, quiz

NOTHING = "It returns None: is the return missing?"


def _check_voc_box(to_continuous):
    for corners, wanted in (((48, 240, 195, 371), (47, 239, 195, 371)), ((1, 1, 500, 375), (0, 0, 500, 375))):
        box = to_continuous(*corners)
        if box is None:
            return NOTHING
        box = tuple(box)
        if box == corners:
            return "VOC counts pixels from 1: its first column is called 1, and its left edge lies at 0."
        if box == tuple(c - 1 for c in corners):
            return "The last column is inside the box, so its right edge is where it was: only xmin and ymin move."
        if box != wanted:
            return f"VOC's {corners} is {wanted}; yours is {box}."


def _check_mask_box(box_of_mask):
    mask = np.zeros((6, 9), bool)
    mask[2:5, 3:8] = True
    box = box_of_mask(mask)
    if box is None:
        return NOTHING
    box = tuple(float(v) for v in box)
    if box in ((3, 2, 7, 4), (2, 3, 4, 7)):
        return "Your box ends at the left and top edges of the last column and row: they need one pixel more."
    if box == (2, 3, 5, 8):
        return "An array is indexed [row, column], which is [y, x]; a box begins with x."
    if box != (3, 2, 8, 5):
        return f"For rows 2-4 and columns 3-7 the box is (3, 2, 8, 5); yours is {box}."
    lonely = np.zeros((4, 4), bool)
    lonely[1, 2] = True
    box = tuple(float(v) for v in box_of_mask(lonely))
    if box != (2, 1, 3, 2):
        return f"A single pixel in row 1, column 2 has the box (2, 1, 3, 2); yours is {box}."


def _check_mean(objects_per_image):
    for images, objects in (([100, 10], [100, 50]), ([3, 2, 5], [6, 10, 5])):
        right, found = sum(objects) / sum(images), objects_per_image(images, objects)
        if found is None:
            return NOTHING
        parts = [o / i for i, o in zip(images, objects, strict=True)]
        if np.isclose(found, sum(parts) / len(parts)):
            return "You averaged the parts' means: but the larger part has more pictures, so it weighs more."
        if np.isclose(found, 1 / right):
            return "That is images per object: turn the fraction over."
        if not np.isclose(found, right, atol=0.01):
            return f"For images {images} and objects {objects} the answer is {right:.2f}; you say {found:.2f}."


def _check_crop(crop):
    image = np.arange(20 * 30 * 3).reshape(20, 30, 3)
    cut = crop(image, (4, 2, 15, 9))
    if cut is None:
        return NOTHING
    if cut.shape == (11, 7, 3):
        return "The crop is as high as the box is wide: image[rows, columns] means image[y, x]."
    if cut.shape != (7, 11, 3):
        return f"A box 11 wide and 7 high should give a crop of shape (7, 11, 3), not {cut.shape}."
    if not np.array_equal(cut, image[2:9, 4:15]):
        return "The size is right, but these are other pixels."


EXERCISES = (
    quiz(
        "00.conv_size",
        "A 5 x 5 convolution, stride 1, padding 2, on a map of 32 x 32: how wide is its output?",
        right=32,
        because="(32 + 2*2 - 5) / 1 + 1 = 32: padding 2 makes up for a 5 x 5 kernel.",
        wrong={28: "That is without padding.", 30: "Padding goes on both sides.", 36: "The kernel takes 4 away again."},
    ),
    quiz(
        "00.conv_stride",
        "A 7 x 7 convolution, stride 2, padding 3, on 224 x 224: how wide is its output?",
        right=112,
        because="floor((224 + 6 - 7) / 2) + 1 = 112.",
        wrong={
            224: "You forgot the stride.",
            111: "Pad both sides, and add one after rounding down.",
            109: "You forgot the padding.",
        },
    ),
    quiz(
        "00.total_stride",
        "Three 2 x 2 max-poolings with stride 2 in a row: one step on the last map is how many pixels of the image?",
        right=8,
        because="Strides multiply: 2 * 2 * 2.",
        wrong={
            6: "Strides multiply, they do not add.",
            4: "That is after two of the three.",
            2: "That is the step between the last two maps.",
        },
    ),
    quiz(
        "00.receptive_field",
        "Two 3 x 3 convolutions with stride 1 in a row: how many pixels wide is what one output sees?",
        right=5,
        because="The second sees 3 positions, and the first widens each by 1 on both sides.",
        wrong={
            3: "That is one convolution alone.",
            6: "Neighbouring windows overlap.",
            9: "9 is the number of weights, not the width.",
        },
    ),
    quiz(
        "00.parameters",
        "How many parameters does a 3 x 3 convolution from 64 to 128 channels have, with biases?",
        right=73856,
        because="3 * 3 * 64 * 128 weights and 128 biases.",
        wrong={73728: "You forgot the biases.", 1280: "Every output channel looks at all 64 input channels."},
    ),
    quiz(
        "00.softmax",
        "Scores 0 and ln 3 go through a softmax: what is the second probability?",
        right=0.75,
        because="e^0 = 1 and e^(ln 3) = 3, so 3 / (1 + 3).",
        tolerance=0.005,
        wrong={
            1.0: "Take the exponentials before you divide.",
            0.25: "That is the first one's.",
            3: "Divide by the sum: probabilities add up to 1.",
        },
    ),
    quiz(
        "00.cross_entropy",
        "The right class got probability 0.5: what is the cross-entropy loss (natural logarithm, two decimals)?",
        right=0.693,
        because="-ln 0.5 = 0.693.",
        tolerance=0.006,
        wrong={
            0.5: "Take minus the logarithm of the probability.",
            1.0: "That is with the logarithm to base 2.",
            -0.693: "A loss is minus the logarithm.",
        },
    ),
    quiz(
        "00.chain_rule",
        "y = (3x + 1)^2. What is dy/dx at x = 1?",
        right=24,
        because="2 * (3x + 1) * 3 = 2 * 4 * 3.",
        wrong={
            8: "Multiply by the inner derivative, 3.",
            16: "That is y itself.",
            18: "Differentiate the square first.",
        },
    ),
    quiz(
        "00.max_gradient",
        "Max-pooling over the values 1, 7, 3, 2 gets the gradient 5 from above: how much of it reaches the 3?",
        right=0,
        because="Only the winner, the 7, passed forward, so only it gets the gradient.",
        wrong={5: "That is what the 7 gets.", 1.25: "That would be average pooling."},
    ),
    quiz(
        "00.pixel",
        "image has the shape (480, 640, 3). Which is the pixel 10 columns from the left and 20 rows from the top?",
        right="b",
        because="Arrays are indexed [row, column]: first y, then x.",
        options={"a": "image[10, 20]", "b": "image[20, 10]", "c": "image[:, 10, 20]"},
        wrong={"a": "That is 10 rows down and 20 columns in.", "c": "The colours stand last, not first."},
    ),
    Exercise(
        "00.to_continuous",
        "Turn a VOC box (1-based, last pixel included) into continuous edges x1, y1, x2, y2.",
        stub="""
             def to_continuous(xmin, ymin, xmax, ymax):
                 raise NotImplementedError
             """,
        solution="""
             def to_continuous(xmin, ymin, xmax, ymax):
                 return xmin - 1, ymin - 1, xmax, ymax
             """,
        check=_check_voc_box,
        mistakes=(
            Mistake("def to_continuous(a, b, c, d):\n    return a, b, c, d", "counts pixels from 1"),
            Mistake("def to_continuous(a, b, c, d):\n    return a - 1, b - 1, c - 1, d - 1", "only xmin and ymin"),
        ),
    ),
    Exercise(
        "00.box_of_mask",
        "Find the smallest box x1, y1, x2, y2 (continuous edges) around the True pixels of a mask (H, W).",
        stub="""
             def box_of_mask(mask):
                 raise NotImplementedError
             """,
        solution="""
             def box_of_mask(mask):
                 rows, columns = np.nonzero(mask)
                 return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
             """,
        check=_check_mask_box,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def box_of_mask(mask):\n    r, c = np.nonzero(mask)\n    return c.min(), r.min(), c.max(), r.max()",
                "one pixel more",
            ),
            Mistake(
                "def box_of_mask(mask):\n    y, x = np.nonzero(mask)\n"
                "    return y.min(), x.min(), y.max() + 1, x.max() + 1",
                "begins with x",
            ),
        ),
    ),
    Exercise(
        "00.objects_per_image",
        "Objects per image of a data set that comes in parts: lists of the parts' images and of their objects.",
        stub="""
             def objects_per_image(images, objects):
                 raise NotImplementedError
             """,
        solution="""
             def objects_per_image(images, objects):
                 return sum(objects) / sum(images)
             """,
        check=_check_mean,
        mistakes=(
            Mistake(
                "def objects_per_image(images, objects):\n"
                "    return sum(o / i for i, o in zip(images, objects)) / len(images)",
                "weighs more",
            ),
            Mistake(
                "def objects_per_image(images, objects):\n    return sum(images) / sum(objects)",
                "turn the fraction over",
            ),
        ),
    ),
    Exercise(
        "00.crop",
        "crop should cut a box x1, y1, x2, y2 out of an image (H, W, 3). It runs, and it is wrong. Mend it.",
        stub="""
             def crop(image, box):
                 x1, y1, x2, y2 = box
                 return image[x1:x2, y1:y2]
             """,
        solution="""
             def crop(image, box):
                 x1, y1, x2, y2 = box
                 return image[y1:y2, x1:x2]
             """,
        check=_check_crop,
        kind="find-the-bug",
        mistakes=(
            Mistake(
                "def crop(image, box):\n    x1, y1, x2, y2 = box\n    return image[y1:y2 + 1, x1:x2 + 1]",
                "a crop of shape",
            ),
            Mistake(
                "def crop(image, box):\n    x1, y1, x2, y2 = box\n    return image[::-1][y1:y2, x1:x2]", "other pixels"
            ),
        ),
    ),
)
