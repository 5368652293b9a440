"""Exercises of notebook 04: unit coordinates, least squares, a box per class, five guesses, a peek at the truth."""

import numpy as np
import torch

from course_utils.notebook.exercises import Exercise, Mistake

NOTHING = "It returns None: is the return missing?"


def _check_in_parts(in_parts):
    boxes = torch.tensor([[0.0, 30.0, 200.0, 90.0], [100.0, 0.0, 300.0, 120.0]])
    before = boxes.clone()
    found = in_parts(boxes, 120, 400)
    if found is None:
        return NOTHING
    if not torch.equal(boxes, before):
        return "Your function changed the boxes that it was given. Divide into a new tensor."
    wanted = torch.tensor([[0.0, 0.25, 0.5, 0.75], [0.25, 0.0, 0.75, 1.0]])
    if tuple(found.shape) != (2, 4):
        return f"Two boxes go in, (2, 4), and two should come out; yours is {tuple(found.shape)}."
    found = torch.as_tensor(found).float()
    if torch.allclose(found, boxes / torch.tensor([120.0, 400.0, 120.0, 400.0])):
        return "A box is x1 y1 x2 y2: x goes with the width, y with the height, and you have them the other way round."
    if torch.allclose(found, boxes / 120) or torch.allclose(found, boxes / 400):
        return "You divide all four by the same side. The picture is wider than high: x by the width, y by the height."
    if not torch.allclose(found, wanted):
        return (
            f"In a picture of 400 x 120 px the box (0, 30, 200, 90) is (0, .25, .5, .75); yours is {found[0].tolist()}."
        )


def _check_least_squares(least_squares):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 7)) + 3, rng.normal(size=(40, 4)) + 5
    for alpha in (1.0, 30.0):
        found = least_squares(x, y, alpha)
        if found is None:
            return NOTHING
        weights, bias = found
        if np.shape(weights) != (7, 4) or np.shape(bias) != (4,):
            return f"Wanted weights (7, 4) and bias (4,); yours are {np.shape(weights)} and {np.shape(bias)}."
        a, b = x - x.mean(0), y - y.mean(0)
        right = np.linalg.solve(a.T @ a + alpha * np.eye(7), a.T @ b)
        if np.allclose(weights, np.linalg.solve(x.T @ x + alpha * np.eye(7), x.T @ y)):
            return "Without a bias the line must go through 0. Take off the means of x and y first."
        if np.allclose(weights, np.linalg.lstsq(a, b, rcond=None)[0]):
            return "alpha does nothing: add alpha times the identity before you solve."
        if not np.allclose(weights, right):
            return "The weights do not solve (A'A + alpha I) w = A'B, where A and B are x and y without their means."
        if not np.allclose(bias, y.mean(0) - x.mean(0) @ right):
            return "The weights are right. The bias is what makes the mean of x give the mean of y."


def _check_own_box(own_box):
    boxes = torch.arange(3 * 5 * 4.0).reshape(3, 5, 4)
    found = own_box(boxes, torch.tensor([1, 5, 2]))
    if found is None:
        return NOTHING
    if tuple(found.shape) != (3, 4):
        return (
            f"One box per picture, (3, 4); yours is {tuple(found.shape)}. boxes[:, labels] takes every label in every "
            "picture; pair each picture with its own."
        )
    if torch.equal(found, boxes[[0, 1, 2], [1, 0, 2]]) or torch.equal(found, boxes[[0, 1, 2], [1, 4, 2]]):
        return "Labels begin at 1, for 0 is the background; the boxes begin at 0."
    if not torch.equal(found, boxes[[0, 1, 2], [0, 4, 1]]):
        return "For the labels 1, 5, 2 wanted boxes[0, 0], boxes[1, 4] and boxes[2, 1]."


def _check_localized(localized):
    cat, dog = 1, 2
    there, far = torch.tensor([0.0, 0, 10, 10]), torch.tensor([20.0, 0, 30, 9])
    cases = (
        ([(cat, there)], True, "One guess, right class, IoU 1: that is right."),
        ([(dog, far), (cat, far), (cat, there)], True, "The third guess is right, and five are allowed."),
        ([(cat, far), (dog, there)], False, "One and the same guess must have the class and the box."),
        ([(dog, there)], False, "The box is right, the class never is."),
        ([(dog, far)] * 5 + [(cat, there)], False, "Only the sixth guess is right, and five are allowed."),
        ([(cat, torch.tensor([0.0, 0, 10, 5]))], True, "IoU exactly .5 is enough."),
        ([(cat, torch.tensor([0.0, 0, 10, 4]))], False, "IoU .4 is too little: a box counts from .5 on."),
    )
    for guesses, right, why in cases:
        found = localized(guesses, cat, there)
        if found is None:
            return NOTHING
        if bool(found) != right:
            return why


def _check_box_right(box_right):
    good, bad = [0.4, 0.0, 1.0, 1.0], [0.0, 0.0, 0.4, 1.0]  # IoU .6 and .4
    truth = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 4)
    # class by class the boxes of four pictures whose labels are 1, 2, 3, 1; the network says 1, 2, 1, 3
    boxes = torch.tensor([[good, bad, bad], [bad, good, bad], [bad, bad, good], [good, bad, good]])
    labels, said = torch.tensor([1, 2, 3, 1]), torch.tensor([1, 2, 1, 3])
    scores = torch.nn.functional.one_hot(said - 1, 3).float()
    found = box_right(boxes, scores, truth, labels)
    if found is None:
        return NOTHING
    known = box_right(boxes[:2], scores[:2], truth[:2], labels[:2])
    if abs(float(known) - 1) > 1e-6:
        return "Where the network names the right class its box counts, whatever it is; you miscount these now."
    if abs(float(found) - 0.5) < 1e-6:
        return "A box may be right although its class is wrong: this is the share of right boxes, and of nothing else."
    if abs(float(box_right(boxes, scores, truth, said)) - float(found)) > 1e-6:
        return "The answer still leaks in: with other labels your share changes. Who chooses the box at test time?"
    if abs(float(found) - 1) < 1e-6:
        return "Do you take the best of all classes' boxes, or count an IoU of .4? Report one box, at .5."
    if abs(float(found) - 0.75) > 1e-6:
        return "Here the boxes of pictures 1, 2 and 4 are right, .75 of all."


EXERCISES = (
    Exercise(
        "04.in_parts",
        "Boxes (N, 4), in pixels, in parts of their picture: 0 is its left or upper edge, 1 the right or lower one.",
        stub="""
             def in_parts(boxes, height, width):
                 raise NotImplementedError
             """,
        solution="""
             def in_parts(boxes, height, width):
                 return boxes / torch.tensor([width, height, width, height])
             """,
        check=_check_in_parts,
        setup="import torch",
        mistakes=(
            Mistake(
                "def in_parts(boxes, height, width):\n    return boxes / torch.tensor([height, width, height, width])",
                "the other way round",
            ),
            Mistake("def in_parts(boxes, height, width):\n    return boxes / width", "the same side"),
            Mistake(
                "def in_parts(boxes, height, width):\n    boxes /= torch.tensor([width, height, width, height])\n"
                "    return boxes",
                "changed the boxes",
            ),
        ),
    ),
    Exercise(
        "04.least_squares",
        "The weights (D, 4) and bias (4,) that minimize |x w + b - y|^2 + alpha |w|^2, the bias not penalized. "
        "x is (N, D), y (N, 4), both numpy arrays.",
        stub="""
             def least_squares(x, y, alpha):
                 raise NotImplementedError
             """,
        solution="""
             def least_squares(x, y, alpha):
                 a, b = x - x.mean(0), y - y.mean(0)
                 weights = np.linalg.solve(a.T @ a + alpha * np.eye(a.shape[1]), a.T @ b)
                 return weights, y.mean(0) - x.mean(0) @ weights
             """,
        check=_check_least_squares,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def least_squares(x, y, alpha):\n"
                "    w = np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y)\n"
                "    return w, y.mean(0) - x.mean(0) @ w",
                "Take off the means",
            ),
            Mistake(
                "def least_squares(x, y, alpha):\n    a, b = x - x.mean(0), y - y.mean(0)\n"
                "    w = np.linalg.solve(a.T @ a, a.T @ b)\n    return w, y.mean(0) - x.mean(0) @ w",
                "alpha does nothing",
            ),
            Mistake(
                "def least_squares(x, y, alpha):\n    a, b = x - x.mean(0), y - y.mean(0)\n"
                "    w = np.linalg.solve(a.T @ a + alpha * np.eye(a.shape[1]), a.T @ b)\n    return w, y.mean(0)",
                "The bias is what",
            ),
        ),
    ),
    Exercise(
        "04.own_box",
        "Of each picture the box of its class. boxes is (N, classes, 4), labels (N,), from 1; wanted (N, 4).",
        stub="""
             def own_box(boxes, labels):
                 raise NotImplementedError
             """,
        solution="""
             def own_box(boxes, labels):
                 return boxes[torch.arange(len(boxes)), labels - 1]
             """,
        check=_check_own_box,
        setup="import torch",
        mistakes=(
            Mistake("def own_box(boxes, labels):\n    return boxes[:, labels - 1]", "pair each picture"),
            Mistake(
                "def own_box(boxes, labels):\n    return boxes[torch.arange(len(boxes)), labels % boxes.shape[1]]",
                "Labels begin at 1",
            ),
            Mistake("def own_box(boxes, labels):\n    return boxes[:, 0]", "wanted boxes[0, 0]"),
        ),
    ),
    Exercise(
        "04.localized",
        "ImageNet's rule: is a picture right? guesses: pairs (label, box (4,)), the most confident first; label and "
        "box (4,) are the truth. Return True or False.",
        stub="""
             def localized(guesses, label, box):
                 raise NotImplementedError
             """,
        solution="""
             def localized(guesses, label, box):
                 for guess, where in guesses[:5]:
                     if guess == label and box_iou(where[None], box[None]) >= 0.5:
                         return True
                 return False
             """,
        check=_check_localized,
        setup="from torchvision.ops import box_iou",
        mistakes=(
            Mistake(
                "def localized(guesses, label, box):\n    guess, where = guesses[0]\n"
                "    return guess == label and box_iou(where[None], box[None]).item() >= 0.5",
                "five are allowed",
            ),
            Mistake(
                "def localized(guesses, label, box):\n    g = guesses[:5]\n"
                "    return any(k == label for k, _ in g) and any(box_iou(b[None], box[None]) >= 0.5 for _, b in g)",
                "One and the same guess",
            ),
            Mistake(
                "def localized(guesses, label, box):\n"
                "    return any(k == label and box_iou(b[None], box[None]) >= 0.5 for k, b in guesses)",
                "Only the sixth",
            ),
            Mistake(
                "def localized(guesses, label, box):\n"
                "    return any(k == label and box_iou(b[None], box[None]) > 0 for k, b in guesses[:5])",
                "a box counts from .5 on",
            ),
        ),
    ),
    Exercise(
        "04.box_right",
        "The share of pictures whose reported box has IoU >= .5, by a head with a box for each class: boxes "
        "(N, classes, 4), scores (N, classes), truth (N, 4), labels (N,) from 1. It is too good to be true. Why?",
        stub="""
             def box_right(boxes, scores, truth, labels):
                 found = boxes[torch.arange(len(boxes)), labels - 1]
                 iou = box_iou(proper(found), truth).diagonal()
                 return (iou >= 0.5).float().mean()
             """,
        solution="""
             def box_right(boxes, scores, truth, labels):
                 found = boxes[torch.arange(len(boxes)), scores.argmax(1)]  # nobody tells us the label
                 iou = box_iou(proper(found), truth).diagonal()
                 return (iou >= 0.5).float().mean()
             """,
        check=_check_box_right,
        setup="import torch\nfrom torchvision.ops import box_iou\nfrom course_utils.localization import proper",
        kind="find-the-bug",
        mistakes=(
            Mistake(
                "def box_right(boxes, scores, truth, labels):\n"
                "    found = boxes[torch.arange(len(boxes)), scores.argmax(1)]\n"
                "    iou = box_iou(proper(found), truth).diagonal()\n"
                "    return ((iou >= 0.5) & (scores.argmax(1) + 1 == labels)).float().mean()",
                "and of nothing else",
            ),
            Mistake(
                "def box_right(boxes, scores, truth, labels):\n"
                "    iou = torch.stack([box_iou(proper(b), t[None]).max() for b, t in zip(boxes, truth)])\n"
                "    return (iou >= 0.5).float().mean()",
                "best of all classes",
            ),
            Mistake(
                "def box_right(boxes, scores, truth, labels):\n"
                "    found = boxes[torch.arange(len(boxes)), scores.argmax(1) - 1]\n"
                "    iou = box_iou(proper(found), truth).diagonal()\n"
                "    return (iou >= 0.5).float().mean()",
                "miscount",
            ),
            Mistake(
                "def box_right(boxes, scores, truth, labels):\n"
                "    own = boxes[torch.arange(len(boxes)), labels - 1]\n"
                "    return (box_iou(proper(own), truth).diagonal() >= 0.5).float().mean()",
                "still leaks in",
            ),
            Mistake(
                "def box_right(boxes, scores, truth, labels):\n"
                "    found = boxes[torch.arange(len(boxes)), scores.argmax(1)]\n"
                "    return (box_iou(proper(found), truth).diagonal() >= 0.3).float().mean()",
                "best of all classes",
            ),
        ),
    ),
)
