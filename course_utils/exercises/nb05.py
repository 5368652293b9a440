"""Exercises of notebook 05: the frame of a box, a step of the cascade, simulated errors, limbs that were found."""

import numpy as np

from course_utils.joints import JOINTS
from course_utils.notebook.exercises import Exercise, Mistake

NOTHING = "It returns None: is the return missing?"


def _check_in_frame(in_frame):
    points, box = np.array([[30.0, 10.0], [50.0, 50.0], [40.0, 85.0], [71.0, 30.0]]), np.array([20.0, 10.0, 61.0, 90.0])
    given = points.copy()
    found = in_frame(points, box)
    if found is None:
        return NOTHING
    if not np.array_equal(points, given):
        return "It changes the points that it was given. Make new ones."
    found = np.asarray(found, float)
    if found.shape != (4, 2):
        return f"Four points in, four points (4, 2) out; yours has shape {found.shape}."
    pixels = points - (40.5, 50)
    wanted = pixels / (41, 80)
    if np.allclose(found, wanted + 0.5):
        return "You count from the top left corner. The origin of the frame is the centre of the box."
    if np.allclose(found, pixels):
        return "Still pixels: divide by the width and the height."
    if np.allclose(found, pixels / 80) or np.allclose(found, pixels / 41):
        return "One number divides both: x by the width, y by the height of the box."
    if np.allclose(found, 2 * wanted):
        return "You divide by half the side, so that edges are at -1 and 1. Wanted: -1/2 and 1/2."
    if np.allclose(found, wanted.clip(-0.5, 0.5)):
        return "A point outside of the box stays outside: the frame goes on beyond +-1/2."
    if np.allclose(found, (points - points.mean(0)) / (41, 80)):
        return "The origin is the centre of the box, not the mean of the points."
    if not np.allclose(found, wanted):
        return "In the box (20, 10, 61, 90) the point (30, 10) is at (-10.5 / 41, -40 / 80) = (-.256, -.5)."


def _check_corrected(corrected):
    joint, answer = np.array([100.0, 60.0]), np.array([0.1, -0.25])
    found = corrected(joint.copy(), 40.0, answer)
    if found is None:
        return NOTHING
    found = np.asarray(found, float)
    if found.shape != (2,):
        return f"One joint in, one joint (x, y) out; yours has shape {found.shape}."
    if np.allclose(found, joint + answer):
        return "The answer is no number of pixels: it counts in sides of the crop."
    if np.allclose(found, 40 * answer):
        return "That is where the joint moves from the centre of the crop; add where the centre is."
    if np.allclose(found, joint - 40 * answer):
        return "The sign: the network says where the joint is, seen from the centre of the crop."
    if np.allclose(found, joint + 20 * answer):
        return "You took half the side. The edge of the crop is at 1/2, a whole side is 1."
    if not np.allclose(found, joint + 40 * answer):
        return "A side of 40 px and the answer (.1, -.25): 4 px to the right and 10 px up."
    found = np.asarray(corrected(joint.copy(), 50.0, np.array([0.23, 0.01])), float)
    if not np.allclose(found, (111.5, 60.5)):
        return "A side of 50 px and the answer (.23, .01): 11.5 px to the right and .5 px down. Nothing is rounded."


def _check_simulated_errors(simulated_errors):
    mean, covariance = np.array([0.2, -0.1]), np.array([[0.04, 0.018], [0.018, 0.01]])
    rng = np.random.default_rng(0)
    found = simulated_errors(mean, covariance, 20_000, rng)
    if found is None:
        return NOTHING
    found = np.asarray(found, float)
    if found.shape != (20_000, 2):
        return f"n errors, each dx and dy: shape (n, 2) is wanted, yours is {found.shape}."
    if len(np.unique(found[:, 0])) < 10_000:
        return "Most of your errors are equal; draw each of them anew."
    if np.abs(found.mean(0)).max() < 0.02:
        return "They are centred on 0. The stage before errs to one side on average: add the mean."
    if not np.allclose(found.mean(0), mean, atol=0.01):
        return f"Their mean is {found.mean(0).round(2).tolist()}, wanted {mean.tolist()}."
    spread = np.cov(found.T)
    if np.allclose(spread, covariance @ covariance, atol=5e-4):
        return "You multiply by the covariance itself; what is wanted is its root, L with L L^T = covariance."
    if np.allclose(np.diag(spread), np.diag(covariance), rtol=0.1) and abs(spread[0, 1]) < 0.004:
        return "dx and dy vary as they should, but independently. Who is too far right is too low here: covariance."
    root = np.linalg.cholesky(covariance)
    if np.allclose(spread, root.T @ root, rtol=0.1):
        return "Errors are rows here: multiply by the transpose, noise @ L.T, to apply L to each of them."
    if not np.allclose(spread, covariance, rtol=0.1):
        return f"Their covariance is {spread.round(3).tolist()}, wanted {covariance.tolist()}."
    off = found - mean
    within = ((off @ np.linalg.inv(covariance)) * off).sum(1) < 1  # of a Gaussian in the plane 1 - exp(-1/2)
    if abs(within.mean() - 0.393) > 0.02:
        return "Mean and covariance are right, but it is no Gaussian: far errors are rare there, and near ones dense."
    again = np.asarray(simulated_errors(mean, covariance, 20_000, rng), float)
    same = np.asarray(simulated_errors(mean, covariance, 20_000, np.random.default_rng(0)), float)
    if np.array_equal(again, found) or not np.array_equal(same, found):
        return "Draw from rng, and from nothing else: the same seed gives the same errors, a second call gives others."


def _check_limb_found(limb_found):
    knee, ankle = np.array([10.0, 10.0]), np.array([40.0, 50.0])  # 50 px long, so 25 px are allowed

    def say(first, second, end=ankle):
        return bool(limb_found(knee + first, end + second, knee, end))

    if limb_found(knee, ankle, knee, ankle) is None:
        return NOTHING
    if not say((0, 0), (0, 0)):
        return "Both ends stand exactly where they should, and you say the limb is missed."

    if say((0, 0), (-21.6, -28.8)) or say((21.6, 28.8), (0, 0)):
        return "One end is 36 px off, the limb 50 px long. Each end has to be near, not one of them or the mean."

    if say((38, 0), (38, 0)):
        return "Both ends are 38 px off, more than half of 50. Half of the true limb's length is allowed."

    def short(length):
        """A limb of 20 px, found with this length: one end is off by the difference."""
        there, zero = np.array([0.0, 20]), np.array([0.0, 0])
        return bool(limb_found(zero, np.array([0.0, length]), zero, there))

    if not short(12) or (short(32) and not short(50)):
        return "The length is that of the true limb: not of the one that was found, and no fixed number of pixels."
    if not say((15, 19), (0, 24)):
        return (
            "The ends are 24.2 and 24 px off, less than half of 50: found. Is your half a half, and the length of a "
            "slanted limb the distance of its ends, 50 px from (10, 10) to (40, 50)?"
        )
    if say((0, 0), (0, 30)):
        return "An end is 30 px off. The limb from (10, 10) to (40, 50) is 50 px long, so 25 px are allowed."
    if say((20, 19), (0, 0)):
        return "An end is (20, 19) off, that is 27.6 px. Measure the distance, not x and y by themselves."
    if not say((7, 24), (0, 0)):
        return "An end is exactly 25 px off, half of 50: that still counts."
    if say((0, 0), (0, 26)) or say((0, 0), (0, 25), end=np.array([10.0, 50.0])):
        return (
            "The limb from (10, 10) to (40, 50) is 50 px long, that to (10, 50) 40 px; an end was found that is off by "
            "more than half of it. How do you measure the length?"
        )
    if say(ankle - knee, knee - ankle):
        return "The two ends are exchanged, so each is 50 px off. A knee is no ankle."


def _check_mirrored_pose(mirrored_pose):
    told = _check_mirrored(mirrored_pose, 10)
    if told is None and _check_mirrored(mirrored_pose, 16) is not None:
        return "Right for a picture 10 px wide, wrong for one of 16: the width is the picture's."
    return told


def _check_mirrored(mirrored_pose, width):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (6, width, 3), dtype=np.uint8)
    joints = np.column_stack([rng.uniform(0, width, 14), rng.uniform(0, 6, 14), np.arange(14) % 3])
    given = joints.copy()
    answer = mirrored_pose(picture, joints)
    if answer is None:
        return NOTHING
    if not np.array_equal(joints, given):
        return "It changes the joints that it was given. Work on a copy."
    turned, found = answer
    if not np.array_equal(turned, picture[:, ::-1]):
        return "The picture was mirrored rightly, and now it is not."
    other = [JOINTS.index({"r": "l", "l": "r"}[j[0]] + j[1:] if j[1] == "_" else j) for j in JOINTS]
    flipped = given * (-1, 1, 1) + (width, 0, 0)
    found = np.asarray(found, float)
    if np.allclose(found, flipped[other]):
        return None
    if np.allclose(found, flipped):
        return (
            "x is right. But look at who is who: joint 0 is the right ankle. In the mirror a person's right leg is "
            "a left leg, and the network learns from both pictures."
        )
    if np.allclose(found, given[other]):
        return "Right and left are exchanged, but nobody moved to the other side: x has to be mirrored as well."
    if np.allclose(found, flipped[other] - (1, 0, 0)):
        return "x is one pixel too small: edges are continuous here, a point on the left edge, 0, comes to the width."
    if np.allclose(found[:, :2], flipped[other][:, :2]):
        return "x and y are right; v has to move with its joint: a hidden right ankle is a hidden left ankle."
    return "Mirror x at the width of the picture, then exchange each right joint with its left one."


EXERCISES = (
    Exercise(
        "05.in_frame",
        "N(y; b): points (n, 2) in pixels as seen from the box (x1, y1, x2, y2). The centre is (0, 0), the left and "
        "right edges are at x = -1/2 and 1/2, upper and lower ones at y = -1/2 and 1/2.",
        stub="""
             def in_frame(points, box):
                 raise NotImplementedError
             """,
        solution="""
             def in_frame(points, box):
                 x1, y1, x2, y2 = box
                 centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
                 return (points - centre) / np.array([x2 - x1, y2 - y1])
             """,
        check=_check_in_frame,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def in_frame(points, box):\n    x1, y1, x2, y2 = box\n"
                "    return (points - np.array([x1, y1])) / np.array([x2 - x1, y2 - y1])",
                "top left corner",
            ),
            Mistake(
                "def in_frame(points, box):\n    x1, y1, x2, y2 = box\n"
                "    return (points - np.array([x1 + x2, y1 + y2]) / 2) / max(x2 - x1, y2 - y1)",
                "One number divides both",
            ),
            Mistake(
                "def in_frame(points, box):\n    x1, y1, x2, y2 = box\n"
                "    return points - np.array([x1 + x2, y1 + y2]) / 2",
                "Still pixels",
            ),
            Mistake(
                "def in_frame(points, box):\n    x1, y1, x2, y2 = box\n"
                "    return 2 * (points - np.array([x1 + x2, y1 + y2]) / 2) / np.array([x2 - x1, y2 - y1])",
                "half the side",
            ),
            Mistake(
                "def in_frame(points, box):\n    x1, y1, x2, y2 = box\n"
                "    return (points - points.mean(0)) / np.array([x2 - x1, y2 - y1])",
                "not the mean of the points",
            ),
            Mistake(
                "def in_frame(points, box):\n    x1, y1, x2, y2 = box\n"
                "    centre = np.array([x1 + x2, y1 + y2]) / 2\n"
                "    return ((points - centre) / np.array([x2 - x1, y2 - y1])).clip(-0.5, 0.5)",
                "stays outside",
            ),
        ),
    ),
    Exercise(
        "05.corrected",
        "A crop of side `side` px stands around `joint` (x, y). The network looked at it and says `answer` (dx, dy) in "
        "the crop's frame. Where is the joint now, in pixels of the picture?",
        stub="""
             def corrected(joint, side, answer):
                 raise NotImplementedError
             """,
        solution="""
             def corrected(joint, side, answer):
                 return joint + side * answer
             """,
        check=_check_corrected,
        mistakes=(
            Mistake("def corrected(joint, side, answer):\n    return joint + answer", "no number of pixels"),
            Mistake("def corrected(joint, side, answer):\n    return side * answer", "add where the centre is"),
            Mistake("def corrected(joint, side, answer):\n    return joint - side * answer", "The sign"),
            Mistake("def corrected(joint, side, answer):\n    return joint + side / 2 * answer", "half the side"),
            Mistake(
                "def corrected(joint, side, answer):\n    return (joint + side * answer).round()", "Nothing is rounded"
            ),
            Mistake("def corrected(joint, side, answer):\n    return joint + 40 * answer", "A side of 50 px"),
        ),
    ),
    Exercise(
        "05.simulated_errors",
        "n errors (n, 2) as the stage before might make them at one joint: from the Gaussian with this mean (2,) and "
        "covariance (2, 2). rng is a numpy Generator.",
        stub="""
             def simulated_errors(mean, covariance, n, rng):
                 raise NotImplementedError
             """,
        solution="""
             def simulated_errors(mean, covariance, n, rng):
                 return rng.multivariate_normal(mean, covariance, n)
             """,
        check=_check_simulated_errors,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def simulated_errors(mean, covariance, n, rng):\n"
                "    return mean + np.sqrt(np.diag(covariance)) * rng.standard_normal((n, 2))",
                "independently",
            ),
            Mistake(
                "def simulated_errors(mean, covariance, n, rng):\n"
                "    return rng.multivariate_normal(np.zeros(2), covariance, n)",
                "add the mean",
            ),
            Mistake(
                "def simulated_errors(mean, covariance, n, rng):\n"
                "    return mean + rng.standard_normal((n, 2)) @ covariance",
                "its root",
            ),
            Mistake(
                "def simulated_errors(mean, covariance, n, rng):\n"
                "    return np.tile(rng.multivariate_normal(mean, covariance), (n, 1))",
                "draw each of them anew",
            ),
            Mistake(
                "def simulated_errors(mean, covariance, n, rng):\n"
                "    return np.random.default_rng(0).multivariate_normal(mean, covariance, n)",
                "Draw from rng",
            ),
            Mistake(
                "def simulated_errors(mean, covariance, n, rng):\n"
                "    even = rng.uniform(-3**.5, 3**.5, (n, 2))\n"
                "    return mean + even @ np.linalg.cholesky(covariance).T",
                "no Gaussian",
            ),
            Mistake(
                "def simulated_errors(mean, covariance, n, rng):\n"
                "    return mean + rng.standard_normal((n, 2)) @ np.linalg.cholesky(covariance)",
                "by the transpose",
            ),
        ),
    ),
    Exercise(
        "05.limb_found",
        "Is a limb found, by PCP@0.5? Four points (x, y): the two ends as found, and the true ones in the same order.",
        stub="""
             def limb_found(first, second, true_first, true_second):
                 raise NotImplementedError
             """,
        solution="""
             def limb_found(first, second, true_first, true_second):
                 allowed = 0.5 * np.linalg.norm(true_second - true_first)
                 off = [np.linalg.norm(first - true_first), np.linalg.norm(second - true_second)]
                 return max(off) <= allowed
             """,
        check=_check_limb_found,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def limb_found(first, second, true_first, true_second):\n"
                "    allowed = 0.5 * np.linalg.norm(true_second - true_first)\n"
                "    off = [np.linalg.norm(first - true_first), np.linalg.norm(second - true_second)]\n"
                "    return np.mean(off) <= allowed",
                "not one of them or the mean",
            ),
            Mistake(
                "def limb_found(first, second, true_first, true_second):\n"
                "    allowed = np.linalg.norm(true_second - true_first)\n"
                "    off = [np.linalg.norm(first - true_first), np.linalg.norm(second - true_second)]\n"
                "    return max(off) <= allowed and max(off) - min(off) < 20",
                "more than half of 50",
            ),
            Mistake(
                "def limb_found(first, second, true_first, true_second):\n"
                "    allowed = 0.5 * np.linalg.norm(second - first)\n"
                "    off = [np.linalg.norm(first - true_first), np.linalg.norm(second - true_second)]\n"
                "    return max(off) <= allowed",
                "not of the one that was found",
            ),
            Mistake(
                "def limb_found(first, second, true_first, true_second):\n"
                "    allowed = 0.5 * np.linalg.norm(true_second - true_first)\n"
                "    return max(abs(first - true_first).max(), abs(second - true_second).max()) <= allowed",
                "Measure the distance",
            ),
            Mistake(
                "def limb_found(first, second, true_first, true_second):\n"
                "    allowed = 0.5 * abs(true_second - true_first).sum()\n"
                "    off = [np.linalg.norm(first - true_first), np.linalg.norm(second - true_second)]\n"
                "    return max(off) <= allowed",
                "so 25 px are allowed",
            ),
            Mistake(
                "def limb_found(first, second, true_first, true_second):\n"
                "    allowed = 0.5 * abs(true_second - true_first).max()\n"
                "    off = [np.linalg.norm(first - true_first), np.linalg.norm(second - true_second)]\n"
                "    return max(off) <= allowed",
                "Is your half a half",
            ),
            Mistake(
                "def limb_found(first, second, true_first, true_second):\n"
                "    off = [np.linalg.norm(first - true_first), np.linalg.norm(second - true_second)]\n"
                "    return max(off) <= 25",
                "no fixed number",
            ),
        ),
    ),
    Exercise(
        "05.mirrored_pose",
        "Twice as many pictures for nothing: mirror each. The joints (14, 3) are x, y, v in the order of JOINTS. A "
        "network that learns from both pictures does not know any more what to say. Why?",
        stub="""
             def mirrored_pose(picture, joints):
                 joints = joints.copy()
                 joints[:, 0] = picture.shape[1] - joints[:, 0]
                 return picture[:, ::-1], joints
             """,
        solution="""
             def mirrored_pose(picture, joints):
                 joints = joints[list(MIRROR)]  # a copy, right and left exchanged
                 joints[:, 0] = picture.shape[1] - joints[:, 0]
                 return picture[:, ::-1], joints
             """,
        check=_check_mirrored_pose,
        setup="from course_utils.pose import MIRROR",
        kind="find-the-bug",
        mistakes=(
            Mistake(
                "def mirrored_pose(picture, joints):\n    joints = joints[list(MIRROR)]\n"
                "    return picture[:, ::-1], joints",
                "nobody moved to the other side",
            ),
            Mistake(
                "def mirrored_pose(picture, joints):\n    joints = joints[list(MIRROR)]\n"
                "    joints[:, 0] = picture.shape[1] - 1 - joints[:, 0]\n    return picture[:, ::-1], joints",
                "one pixel too small",
            ),
            Mistake(
                "def mirrored_pose(picture, joints):\n    joints = joints.copy()\n"
                "    joints[:, :2] = joints[list(MIRROR), :2]\n"
                "    joints[:, 0] = picture.shape[1] - joints[:, 0]\n    return picture[:, ::-1], joints",
                "v has to move with its joint",
            ),
            Mistake(
                "def mirrored_pose(picture, joints):\n    joints[:] = joints[list(MIRROR)]\n"
                "    joints[:, 0] = picture.shape[1] - joints[:, 0]\n    return picture[:, ::-1], joints",
                "Work on a copy",
            ),
            Mistake(
                "def mirrored_pose(picture, joints):\n    joints = joints[list(MIRROR)]\n"
                "    joints[:, 0] = 10 - joints[:, 0]\n    return picture[:, ::-1], joints",
                "wrong for one of 16",
            ),
        ),
    ),
)
