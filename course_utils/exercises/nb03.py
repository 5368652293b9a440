"""Exercises of notebook 03: a spring's cost, a part's cell, its best place, the latent step, a stride."""

import numpy as np

from course_utils.distance_transform import bounded_distance_transform, distance_transform
from course_utils.notebook.exercises import Exercise, Mistake

NOTHING = "It returns None: is the return missing?"


def _check_spring_cost(spring_cost):
    place, anchor = np.array([7, 4]), np.array([5, 5])  # arrays, so that place - anchor is an answer too
    found = spring_cost(place, anchor, np.array([0, 0, 0.1, 0.3]))
    if found is None:
        return NOTHING
    if np.ndim(found):
        return f"One number is wanted, the whole cost; yours has shape {np.shape(found)}."
    if np.isclose(found, 0.1 * 2 + 0.3 * 1):
        return "Without linear weights the cost is .1 times 2 squared + .3 times 1 squared: the distances are squared."
    if np.isclose(found, 0.1 * 1 + 0.3 * 4):
        return "x comes first: the part is 2 to the right and 1 up, so .1 goes with 2 squared and .3 with 1 squared."
    if not np.isclose(found, 0.7):
        return f"2 to the right and 1 up, weights 0 0 .1 .3: .1 * 4 + .3 * 1 = .7; yours is {found:.3f}."
    found = spring_cost(place, anchor, np.array([0.5, 0.2, 0.1, 0.3]))
    if np.isclose(found, 0.7):
        return "With linear weights .5 and .2 nothing changes: dx and dy themselves cost too."
    if np.isclose(found, 0.7 - 0.8):
        return "The sign of dx is wrong: it is the part's place minus its anchor, here +2, not -2."
    if np.isclose(found, 0.7 + 1.2):
        return "dx and dy have signs: one up is dy = -1, and with a weight of .2 that makes it cheaper."
    right = 0.5 * 2 - 0.2 + 0.7
    if not np.isclose(found, right):
        return f"Weights .5 .2 .1 .3: .5 * 2 - .2 * 1 + .1 * 4 + .3 * 1 = {right:.1f}; yours is {found:.3f}."


def _check_part_cell(part_cell):
    found = part_cell((0, 0), (0, 0), (0, 0))
    if found is None:
        return NOTHING
    if np.shape(found) != (2,):
        return f"Two numbers are wanted, x and y; yours has shape {np.shape(found)}."
    cases = (
        ((3, 4), (5, 1), (0, 0), "no padding"),
        ((12, 9), (0, 0), (12, 9), "the picture's first cell on both levels"),
        ((15, 11), (5, 1), (12, 9), "cell 3, 2 of the picture, anchor 5, 1"),
    )
    for root, anchor, pad, what in cases:
        (x, y), (a, b), (px, py) = root, anchor, pad
        right = 2 * (x - px) + a + px, 2 * (y - py) + b + py
        found = tuple(part_cell(root, anchor, pad))
        if found == right:
            continue
        start = f"Root {root}, anchor {anchor}, padding {pad} ({what}): {right}; yours is {found}. "
        if found == (2 * x + a, 2 * y + b):
            return start + "You double the padding too: take it off before you double."
        if found == (2 * (x - px) + a, 2 * (y - py) + b):
            return start + "The part's map is padded as well: add its padding."
        if found == (2 * (x - px + a) + px, 2 * (y - py + b) + py):
            return start + "The anchor is counted in the part's cells already: do not double it."
        if found == (x + a, y + b):
            return start + "One cell of the root is two cells of the part."
        if found == (2 * (x - py) + a + py, 2 * (y - px) + b + px):
            return start + "pad is (x, y), like the others."
        return start


def _check_best_place(best_place):
    f = np.array([0.0, 3, 0, 0, 0, 0, 2.5, 9])
    found = best_place(f, 4, 0.4, 2)
    if found is None:
        return NOTHING
    if np.ndim(found) == 0:
        return "Two things are wanted: the value and the place p."
    value, place = found
    if np.isclose(value, 2.5 + 0.4 * 4):
        return "The spring's cost is taken away from the response; you add it."
    if value == 6 and np.isclose(place, 0.9):
        return "First the value, then the place."
    if np.isclose(value, 9 - 0.4 * 9):
        return "7 is three cells from 4: out of a reach of 2."
    if np.isclose(value, 2.5) and place == 6:
        return "The place is right; the value is what remains after the cost is paid: 2.5 - .4 * 2 * 2 = .9."
    if np.isclose(value, 0.9) and place == 6 - 4:
        return "Give p itself, counted from the start of f, not how far it is from q."
    if np.isclose(value, 0):
        return "6 is two cells from 4: p = q + reach belongs to it (a range stops before its end)."
    if not np.isclose(value, 0.9) or place != 6:
        return f"f = {f.tolist()}, q = 4, a = .4, reach 2: value .9, by going to 6; yours is {value:.2f} at {place}."
    for q in range(len(f)):
        for a in (0.05, 0.3):
            p = max(range(max(q - 3, 0), min(q + 3, 7) + 1), key=lambda p: f[p] - a * (p - q) ** 2)
            right = f[p] - a * (p - q) ** 2
            value, place = best_place(f, q, a, 3)
            if np.isclose(value, right) and place == p:
                continue
            start = (
                f"f = {f.tolist()}, q = {q}, a = {a}, reach 3: value {right:.2f} at {p}; yours {value:.2f} at {place}. "
            )
            if p == q + 3:
                return (
                    start
                    + "The reach counts on both sides: p = q + reach belongs to it (a range stops before its end)."
                )
            if q < 3:
                return start + "Left of 0 there is nothing: begin at 0 (f[-1] is the last entry)."
            if q > len(f) - 4:
                return start + "f ends at 7: no p lies to the right of that."
            return start


def _check_relabel(relabel):
    scores, overlaps = np.array([0.2, 1.5, 0.9, 0.4, 1.2]), np.array([0.9, 0.3, 0.72, 0.8, 0.68])
    found = relabel(scores, overlaps.copy(), 0)
    if found is None:
        return NOTHING
    if found == 1:
        return "Placement 1 has the highest score, but an IoU of .3 with the box: it is somewhere else in the picture."
    if found == 4:
        return "Placement 4 has the highest score of those with an IoU of .5, but .68 is not enough: .7 is asked for."
    if np.isclose(found, 0.9) and found != 2:
        return "Give the placement's index, not its score."
    if found == 0:
        return (
            "Placement 2 scores .9 against .2 of the old one and overlaps by .72: take the highest score, "
            "not the old one, and not the highest overlap."
        )
    if found == 3:
        return "Placement 2 overlaps by .72, which is enough, and scores .9; you take number 3, which scores .4."
    if found != 2:
        return (
            f"Of 0, 2 and 3, which overlap enough, number 2 scores highest; you take {found}. Is it an index into all?"
        )
    found = relabel(np.array([0.8, 0.1, 0.5]), np.array([0.6, 0.9, 0.8]), 0)
    if found == 2:
        return (
            "The old placement scored .8 and you went to one of .5: the objective rises. "
            "The old one is always a candidate, whatever its overlap."
        )
    if found != 0:
        return f"The old placement, number 0, has the highest score of those allowed, .8; you take {found}."
    found = relabel(np.array([0.8, 0.1, 2.0]), np.array([0.6, 0.2, 0.1]), 1)
    if found != 1:
        return f"None overlaps by .7: then the old one stays, number 1; you take {found}."
    found = relabel(np.array([-0.8, -0.1, -0.5]), np.array([0.9, 0.2, 0.8]), 0)
    if found != 2:
        return f"Scores can be negative: -.5 is the highest of those allowed, number 2; you take {found}."


def _check_part_at_roots(part_at_roots):
    rng = np.random.default_rng(0)
    response, w = rng.normal(size=(12, 15)).astype(np.float32), np.array([0, 0, 0.1, 0.1], np.float32)
    response[11, 14], response[0, 0] = 12, 9  # pull from more than 4 cells away, and from above and left of all anchors
    x, y = 3, 2
    found = part_at_roots(response, w, (x, y))
    if found is None:
        return NOTHING
    found, moved = np.asarray(found), bounded_distance_transform(response, w)[0]
    right = moved[y::2, x::2]
    if found.shape == moved.shape or found.shape == moved[y:, x:].shape:
        return "One value per root is wanted, and the root's cells are twice as large: every second value."
    if found.shape != right.shape:
        return (
            f"Roots are at 0, 2, 4 ... from the anchor (nothing is padded here): {right.shape} values; "
            f"yours has shape {found.shape}."
        )
    if np.allclose(found, response[y::2, x::2]):
        return "Now no part moves at all. It should still slide; only when?"
    anchored = response[y::2, x::2].copy()
    if np.allclose(found, bounded_distance_transform(anchored, w * 4)[0]):
        return "The cost is mended, but the part still sees only every second cell of its level."
    if np.allclose(found, bounded_distance_transform(anchored, w)[0]):
        return "Still the same bug: which cells of its own fine level may a part slide to in your version?"
    if np.allclose(found, bounded_distance_transform(response[y:, x:].copy(), w)[0][::2, ::2]):
        return "It slides before you skip: good. But a part may also go left of and above the first anchor: cut later."
    if np.allclose(found, distance_transform(response, w)[0][y::2, x::2]):
        return "The order is right, but these parts go anywhere: keep the transform that stops after 4 cells."
    if not np.allclose(found, right):
        return "The values differ from: slide first, then at each root take the value at 2 root + anchor."


EXERCISES = (
    Exercise(
        "03.spring_cost",
        "What a part pays at `place` (x, y) if its anchor is at `anchor` (x, y), all arrays. w: what dx, dy, dx "
        "squared and dy squared cost, in this order; (dx, dy) = place - anchor.",
        stub="""
             def spring_cost(place, anchor, w):
                 raise NotImplementedError
             """,
        solution="""
             def spring_cost(place, anchor, w):
                 dx, dy = place[0] - anchor[0], place[1] - anchor[1]
                 return np.dot(w, (dx, dy, dx**2, dy**2))
             """,
        check=_check_spring_cost,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def spring_cost(place, anchor, w):\n"
                "    dx, dy = anchor[0] - place[0], anchor[1] - place[1]\n"
                "    return np.dot(w, (dx, dy, dx**2, dy**2))",
                "sign of dx is wrong",
            ),
            Mistake(
                "def spring_cost(place, anchor, w):\n"
                "    dx, dy = place[0] - anchor[0], place[1] - anchor[1]\n"
                "    return w[2] * dx**2 + w[3] * dy**2",
                "nothing changes",
            ),
            Mistake(
                "def spring_cost(place, anchor, w):\n"
                "    dx, dy = abs(place[0] - anchor[0]), abs(place[1] - anchor[1])\n"
                "    return np.dot(w, (dx, dy, dx**2, dy**2))",
                "have signs",
            ),
            Mistake(
                "def spring_cost(place, anchor, w):\n"
                "    dy, dx = place[0] - anchor[0], place[1] - anchor[1]\n"
                "    return np.dot(w, (dx, dy, dx**2, dy**2))",
                "x comes first",
            ),
            Mistake(
                "def spring_cost(place, anchor, w):\n"
                "    dx, dy = place[0] - anchor[0], place[1] - anchor[1]\n"
                "    return np.dot(w, (dx**2, dx, dy**2, dy))",
                "yours is",
            ),
        ),
    ),
    Exercise(
        "03.part_cell",
        "Where a part rests. root: x, y in the padded root map; anchor: x, y in the part's cells; pad: cells of "
        "padding in x and y, equally many on both maps. Return x, y in the padded part map.",
        stub="""
             def part_cell(root, anchor, pad):
                 raise NotImplementedError
             """,
        solution="""
             def part_cell(root, anchor, pad):
                 x = 2 * (root[0] - pad[0]) + anchor[0] + pad[0]
                 y = 2 * (root[1] - pad[1]) + anchor[1] + pad[1]
                 return x, y
             """,
        check=_check_part_cell,
        mistakes=(
            Mistake(
                "def part_cell(root, anchor, pad):\n    return 2 * root[0] + anchor[0], 2 * root[1] + anchor[1]",
                "double the padding too",
            ),
            Mistake(
                "def part_cell(root, anchor, pad):\n"
                "    return 2 * (root[0] - pad[0]) + anchor[0], 2 * (root[1] - pad[1]) + anchor[1]",
                "padded as well",
            ),
            Mistake(
                "def part_cell(root, anchor, pad):\n"
                "    return tuple(2 * (root[k] - pad[k] + anchor[k]) + pad[k] for k in range(2))",
                "do not double it",
            ),
            Mistake(
                "def part_cell(root, anchor, pad):\n    return root[0] + anchor[0], root[1] + anchor[1]",
                "two cells of the part",
            ),
            Mistake(
                "def part_cell(root, anchor, pad):\n"
                "    return 2 * (root[0] - pad[1]) + anchor[0] + pad[1], 2 * (root[1] - pad[0]) + anchor[1] + pad[0]",
                "pad is (x, y)",
            ),
        ),
    ),
    Exercise(
        "03.best_place",
        "One entry of the transform, by trying: of all p with |p - q| <= reach inside f (1-D), which has the highest "
        "f[p] - a (p - q)^2? Return that value, and p.",
        stub="""
             def best_place(f, q, a, reach):
                 raise NotImplementedError
             """,
        solution="""
             def best_place(f, q, a, reach):
                 places = range(max(q - reach, 0), min(q + reach, len(f) - 1) + 1)
                 values = [f[p] - a * (p - q) ** 2 for p in places]
                 return max(values), places[np.argmax(values)]
             """,
        check=_check_best_place,
        setup="import numpy as np",
        mistakes=(
            Mistake(
                "def best_place(f, q, a, reach):\n"
                "    places = range(max(q - reach, 0), min(q + reach, len(f) - 1) + 1)\n"
                "    values = [f[p] + a * (p - q) ** 2 for p in places]\n"
                "    return max(values), places[np.argmax(values)]",
                "you add it",
            ),
            Mistake(
                "def best_place(f, q, a, reach):\n"
                "    values = f - a * (np.arange(len(f)) - q) ** 2\n"
                "    return values.max(), values.argmax()",
                "out of a reach",
            ),
            Mistake(
                "def best_place(f, q, a, reach):\n"
                "    places = range(q - reach, min(q + reach, len(f) - 1) + 1)\n"
                "    values = [f[p] - a * (p - q) ** 2 for p in places]\n"
                "    return max(values), places[np.argmax(values)]",
                "begin at 0",
            ),
            Mistake(
                "def best_place(f, q, a, reach):\n"
                "    places = range(max(q - reach, 0), min(q + reach, len(f)))\n"
                "    values = [f[p] - a * (p - q) ** 2 for p in places]\n"
                "    return max(values), places[np.argmax(values)]",
                "belongs to it",
            ),
            Mistake(
                "def best_place(f, q, a, reach):\n"
                "    places = range(max(q - reach, 0), min(q + reach, len(f) - 1) + 1)\n"
                "    values = [f[p] - a * (p - q) ** 2 for p in places]\n"
                "    return max(values)",
                "Two things",
            ),
            Mistake(
                "def best_place(f, q, a, reach):\n"
                "    places = range(max(q - reach, 0), min(q + reach, len(f) - 1) + 1)\n"
                "    values = [f[p] - a * (p - q) ** 2 for p in places]\n"
                "    return max(values), places[np.argmax(values)] - q",
                "not how far",
            ),
            Mistake(
                "def best_place(f, q, a, reach):\n"
                "    places = range(max(q - reach, 0), min(q + reach, len(f) - 1) + 1)\n"
                "    values = [f[p] - a * (p - q) ** 2 for p in places]\n"
                "    return places[np.argmax(values)], max(values)",
                "First the value",
            ),
        ),
    ),
    Exercise(
        "03.part_at_roots",
        "What one part adds at every root. response: the part's, on its own fine level; w: its spring; anchor: x, y. "
        "Nothing is padded here: the root at (0, 0) has its anchor at `anchor`. Somebody wanted to save time.",
        stub="""
             def part_at_roots(response, w, anchor):
                 x, y = anchor
                 at_anchors = response[y::2, x::2]  # where the part rests for each root
                 return bounded_distance_transform(at_anchors, w)[0]
             """,
        solution="""
             def part_at_roots(response, w, anchor):
                 x, y = anchor
                 moved = bounded_distance_transform(response, w)[0]  # slide on the fine level
                 return moved[y::2, x::2]
             """,
        check=_check_part_at_roots,
        setup="import numpy as np\nfrom course_utils.distance_transform import bounded_distance_transform",
        kind="find-the-bug",
        mistakes=(
            Mistake(
                "def part_at_roots(response, w, anchor):\n    x, y = anchor\n"
                "    return bounded_distance_transform(response, w)[0][y:, x:]",
                "every second value",
            ),
            Mistake(
                "def part_at_roots(response, w, anchor):\n    x, y = anchor\n"
                "    return bounded_distance_transform(response[y::2, x::2], 4 * w)[0]",
                "every second cell",
            ),
            Mistake(
                "def part_at_roots(response, w, anchor):\n    x, y = anchor\n    return response[y::2, x::2]",
                "no part moves",
            ),
            Mistake(
                "def part_at_roots(response, w, anchor):\n    x, y = anchor\n"
                "    moved = bounded_distance_transform(response, w)[0]\n    return moved[x::2, y::2]",
                "yours has shape",
            ),
            Mistake(
                "def part_at_roots(response, w, anchor):\n    x, y = anchor\n"
                "    return bounded_distance_transform(response[y:, x:], w)[0][::2, ::2]",
                "cut later",
            ),
            Mistake(
                "from course_utils.distance_transform import distance_transform\n"
                "def part_at_roots(response, w, anchor):\n    x, y = anchor\n"
                "    return distance_transform(response, w)[0][y::2, x::2]",
                "stops after 4 cells",
            ),
        ),
    ),
    Exercise(
        "03.relabel",
        "The latent step for one positive. scores (N,) of its placements under the new weights, their IoU with its box "
        "(N,), the index `old` of the one chosen last time. Allowed are placements with an IoU of at least .7, and the "
        "old one whatever its IoU. Return the index of the new choice.",
        stub="""
             def relabel(scores, overlaps, old):
                 raise NotImplementedError
             """,
        solution="""
             def relabel(scores, overlaps, old):
                 allowed = overlaps >= 0.7
                 allowed[old] = True
                 return int(np.where(allowed, scores, -np.inf).argmax())
             """,
        check=_check_relabel,
        setup="import numpy as np",
        mistakes=(
            Mistake("def relabel(scores, overlaps, old):\n    return int(scores.argmax())", "somewhere else"),
            Mistake(
                "def relabel(scores, overlaps, old):\n"
                "    return int(np.where(overlaps >= 0.7, scores, -np.inf).argmax())",
                "always a candidate",
            ),
            Mistake("def relabel(scores, overlaps, old):\n    return int(overlaps.argmax())", "highest overlap"),
            Mistake("def relabel(scores, overlaps, old):\n    return old", "not the old one"),
            Mistake(
                "def relabel(scores, overlaps, old):\n"
                "    allowed = overlaps >= 0.5\n"
                "    allowed[old] = True\n"
                "    return int(np.where(allowed, scores, -np.inf).argmax())",
                ".68 is not enough",
            ),
            Mistake(
                "def relabel(scores, overlaps, old):\n"
                "    allowed = overlaps >= 0.75\n"
                "    allowed[old] = True\n"
                "    return int(np.where(allowed, scores, -np.inf).argmax())",
                "which is enough",
            ),
            Mistake(
                "def relabel(scores, overlaps, old):\n"
                "    allowed = overlaps >= 0.7\n"
                "    allowed[old] = True\n"
                "    return int((scores * allowed).argmax())",
                "can be negative",
            ),
            Mistake(
                "def relabel(scores, overlaps, old):\n    return scores[overlaps >= 0.7].max()",
                "not its score",
            ),
        ),
    ),
)
