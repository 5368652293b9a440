"""Vehicles, furniture, and the clutter that hides them."""

import numpy as np

from course_utils.toys.animals import BLACK, WHITE, coat, painted, shade
from course_utils.toys.mesh import Mesh, rotation

GLASS = (0.55, 0.7, 0.8)


def car(rng: np.random.Generator, amount: float = 1.0) -> Mesh:
    """A saloon, hatchback, van or pick-up."""
    mesh = Mesh()
    paint, tyre = painted(rng, (0.0, 0.95), (0.1, 0.98)), shade(BLACK, rng.uniform(1, 3))
    long, wide = rng.uniform(0.62, 0.85), rng.uniform(0.24, 0.32)
    belt, roof, clear = rng.uniform(0.28, 0.36), rng.uniform(0.46, 0.6), rng.uniform(0.08, 0.14)
    kind = rng.choice(["saloon", "hatch", "van", "pickup"]) if rng.uniform() < amount else "saloon"
    front, back = {"saloon": (0.35, -0.5), "hatch": (0.35, -0.85), "van": (0.62, -0.92), "pickup": (0.3, -0.05)}[kind]
    rake, tail = rng.uniform(0.12, 0.3), rng.uniform(0.03, 0.22)
    lower = [
        (-long, clear),
        (long, clear),
        (1.02 * long, 0.7 * belt),
        (0.95 * long, 0.95 * belt),
        (0.3 * long, belt),
        (-0.95 * long, belt),
        (-1.0 * long, 0.8 * belt),
    ]
    mesh.prism(lower, wide, paint, pattern=0.3, bevel=0.06, gloss=0.9)
    cabin = [
        (back * long, belt - 0.01),
        (front * long, belt - 0.01),
        (front * long - rake, roof),
        (back * long + tail, roof),
    ]
    mesh.prism(cabin, 0.88 * wide, paint, pattern=0.3, bevel=0.12, gloss=0.9)
    middle = np.mean(cabin, 0)
    pane = middle + (np.array(cabin) - middle) * [0.86, 0.7]
    glass = shade(GLASS, rng.uniform(0.25, 1.1))
    halves = rng.uniform(0.35, 0.6)
    split = pane[0, 0] + halves * (pane[1, 0] - pane[0, 0])
    for left, right in ((pane[0, 0], split - 0.02), (split + 0.02, pane[1, 0])):
        top_left = max(left, pane[3, 0]) if left == pane[0, 0] else left
        top_right = min(right, pane[2, 0]) if right == pane[1, 0] else right
        mesh.prism(
            [
                (left, pane[0, 1]),
                (right, pane[1, 1]),
                (max(top_right, top_left + 0.02), pane[2, 1]),
                (top_left, pane[3, 1]),
            ],
            0.9 * wide,
            glass,
            gloss=1.0,
            bevel=0.02,
        )
    for at, slope, sign in (
        (front * long - rake / 2, np.arctan2(rake, roof - belt), 1),
        (back * long + tail / 2, np.arctan2(tail, roof - belt), -1),
    ):
        mesh.box(
            (at + 0.012 * sign, (belt + roof) / 2, 0),
            (0.03, 0.72 * (roof - belt), 1.45 * wide),
            glass,
            turn=rotation(0, sign * slope),
            gloss=1.0,
        )
    wheel = rng.uniform(0.1, 0.15)
    hub = shade(WHITE, rng.uniform(0.4, 1))
    for x in (-0.6 * long, 0.62 * long):
        for side in (-1, 1):
            mesh.wheel((x, wheel, side * (wide - 0.02)), wheel, 0.05, tyre, hub=hub)
    for side in (-1, 1):
        mesh.ball(
            (1.0 * long, 0.78 * belt, side * 0.68 * wide),
            [0.035, 0.045, 0.055],
            (1.0, 0.97, 0.75),
            gloss=1.0,
            pattern=0,
        )
        mesh.box((-1.0 * long, 0.8 * belt, side * 0.75 * wide), (0.03, 0.05, 0.07), (0.8, 0.08, 0.06))
    mesh.box((1.02 * long, clear + 0.05, 0), (0.05, 0.06, 1.9 * wide), shade(paint, 0.35))
    mesh.box((-1.0 * long, clear + 0.05, 0), (0.05, 0.06, 1.9 * wide), shade(paint, 0.35))
    if rng.uniform() < 0.25 * amount:
        mesh.box((0.5 * (front + back) * long, roof + 0.05, 0), (0.5 * long, 0.09, 1.3 * wide), painted(rng))
    return mesh


def bus(rng: np.random.Generator, amount: float = 1.0) -> Mesh:
    """A coach, a school bus or a double-decker."""
    mesh = Mesh()
    paint, stripe = painted(rng, (0.1, 0.95), (0.3, 0.98)), painted(rng)
    long, wide = rng.uniform(0.75, 1.1), rng.uniform(0.24, 0.33)
    decks = 2 if rng.uniform() < 0.25 * amount else 1
    clear, high = rng.uniform(0.08, 0.13), rng.uniform(0.5, 0.68) * (1.45 if decks == 2 else 1)
    lean, nose = rng.uniform(0, 0.08), rng.uniform() < 0.25 * amount
    mesh.prism(
        [(-long, clear), (long, clear), (long - 0.3 * lean, 0.5 * high), (long - lean, high), (-long, high)],
        wide,
        paint,
        pattern=0.3,
        bevel=0.05,
        gloss=0.8,
    )
    if nose:
        mesh.box((long + 0.1, clear + 0.16, 0), (0.26, 0.3, 1.7 * wide), paint)
    glass, panes = shade(GLASS, rng.uniform(0.2, 1.1)), int(rng.integers(3, 7))
    for deck in range(decks):
        low = (0.5 + 0.48 * deck) * high / (1.0 if decks == 1 else 1.25)
        tall = 0.3 * high / (1.0 if decks == 1 else 1.3)
        width = 1.75 * long / panes
        for k in range(panes):
            x = -0.9 * long + (k + 0.5) * width
            mesh.box((x, low + tall / 2, 0), (0.82 * width, tall, 2.02 * wide), glass, gloss=1.0, bevel=0.01)
        mesh.box(
            (long - 0.45 * lean, low + tall / 2, 0), (0.03 + 0.3 * lean, 1.15 * tall, 1.75 * wide), glass, gloss=1.0
        )
        mesh.box((-long, low + tall / 2, 0), (0.03, tall, 1.4 * wide), glass, gloss=1.0)
    if rng.uniform() < 0.6:
        mesh.box((0, 0.33 * high + 0.03, 0), (1.98 * long, 0.07 * high, 2.02 * wide), stripe)
    wheel = rng.uniform(0.09, 0.13)
    for x in (-0.62 * long, 0.66 * long):
        for side in (-1, 1):
            mesh.wheel((x, wheel, side * (wide - 0.02)), wheel, 0.05, shade(BLACK, 2), hub=shade(WHITE, 0.7))
    tip = long + (0.23 if nose else 0)
    for side in (-1, 1):
        mesh.ball((tip, clear + 0.09, side * 0.7 * wide), [0.03, 0.04, 0.05], (1, 0.97, 0.75), pattern=0, gloss=1)
        mesh.box((-long, clear + 0.12, side * 0.8 * wide), (0.03, 0.09, 0.05), (0.8, 0.08, 0.06))
    return mesh


def chair(rng: np.random.Generator, amount: float = 1.0) -> Mesh:
    """A kitchen chair, an armchair or a bar stool with a back; the sitter would look along +x."""
    mesh = Mesh()
    wood = coat(rng) if rng.uniform() < 0.6 else painted(rng)
    cloth = painted(rng) if rng.uniform() < 0.5 else wood
    half, seat, back = rng.uniform(0.2, 0.3), rng.uniform(0.32, 0.5), rng.uniform(0.34, 0.6)
    lean, thick = rng.uniform(0, 0.14) + 0.02, rng.uniform(0.02, 0.04)
    kind = rng.choice(["slats", "panel", "bars", "arm"]) if rng.uniform() < amount else "panel"
    splay = rng.uniform(0, 0.06)
    if kind == "arm":
        seat *= 0.8
        mesh.box((0, 0.6 * seat, 0), (2 * half, 0.75 * seat, 2.1 * half), cloth, pattern=1)
        for side in (-1, 1):
            mesh.box((0.02, seat + 0.05, side * 1.05 * half), (2 * half, 0.35 * seat + 0.15, 0.12), cloth, pattern=1)
    for x in (-1, 1):
        for z in (-1, 1):
            mesh.limb(
                [(x * (half - 0.02), seat, z * (half - 0.02)), (x * (half + splay), 0.02, z * (half + splay))],
                [thick, 0.8 * thick],
                wood,
                round_ends=False,
                pattern=0.5,
            )
    mesh.box((0, seat, 0), (2.08 * half, 2.2 * thick, 2.08 * half), cloth, pattern=1)
    top = np.array([-half - lean, seat + back, 0])
    low = np.array([-half + 0.02, seat, 0])
    slope = rotation(0, np.arctan2(lean, back))
    if kind in ("panel", "arm"):
        mesh.box(
            (low + top) / 2,
            (2.5 * thick + (0.08 if kind == "arm" else 0), back, 2 * half),
            cloth,
            turn=slope,
            pattern=1,
        )
        return mesh
    for z in (-1, 1):
        mesh.limb([low + [0, 0, z * (half - 0.03)], top + [0, 0, z * (half - 0.03)]], thick, wood, pattern=0.5)
    count = int(rng.integers(2, 5))
    for t in np.linspace(0.35, 1.0, count):
        if kind == "slats":
            mesh.box(
                low + t * (top - low), (1.2 * thick, 0.5 * back / count, 2 * half - 0.04), wood, turn=slope, pattern=0.5
            )
    if kind == "bars":
        mesh.box(top, (1.4 * thick, 0.09, 2 * half), wood, turn=slope)
        for z in np.linspace(-0.6, 0.6, count):
            mesh.limb([low + [0, 0, z * half], top + [0, 0, z * half]], 0.6 * thick, wood)
    return mesh


def clutter(rng: np.random.Generator) -> Mesh:
    """Something that is no object of the data set: crate, ball, can, cone, stone, plant, post or a pile of limbs."""
    mesh = Mesh()
    kind = rng.choice(["crate", "ball", "can", "cone", "stone", "plant", "post", "pile", "fence"])
    paint, other = painted(rng, (0.0, 0.9), (0.1, 0.95)), coat(rng)
    if kind == "crate":
        x, y, z = rng.uniform(0.2, 0.6, 3)
        mesh.box((0, y / 2, 0), (x, y, z), paint, pattern=1)
        if rng.uniform() < 0.5:
            mesh.box((0, y * 1.25, 0), (0.6 * x, 0.5 * y, 0.7 * z), other, turn=rotation(rng.uniform(0, 3)), pattern=1)
    elif kind == "ball":
        r = rng.uniform(0.12, 0.35)
        mesh.ball((0, r, 0), r, paint, gloss=0.8)
    elif kind == "can":
        r, h = rng.uniform(0.08, 0.22), rng.uniform(0.25, 0.8)
        mesh.lathe([(r, 0), (r, 0.9 * h), (0.8 * r, h)], paint, pattern=1)
    elif kind == "cone":
        mesh.box((0, 0.02, 0), (0.5, 0.04, 0.5), paint)
        mesh.lathe([(0.2, 0.04), (0.03, rng.uniform(0.5, 0.8))], paint, pattern=1)
    elif kind == "stone":
        for _ in range(rng.integers(1, 4)):
            size = rng.uniform(0.1, 0.35, 3)
            mesh.ball(
                (rng.uniform(-0.3, 0.3), 0.6 * size[1], rng.uniform(-0.3, 0.3)),
                size,
                shade((0.6, 0.6, 0.6), rng.uniform(0.4, 1.3)),
                turn=rotation(*rng.uniform(0, 3, 3)),
            )
    elif kind == "plant":
        green = (rng.uniform(0.05, 0.4), rng.uniform(0.3, 0.7), rng.uniform(0.05, 0.35))
        mesh.limb([(0, 0, 0), (0, 0.5, 0)], 0.05, shade(other, 0.6))
        for _ in range(rng.integers(4, 14)):
            mesh.ball(
                (rng.uniform(-0.3, 0.3), rng.uniform(0.25, 1.0), rng.uniform(-0.3, 0.3)),
                rng.uniform(0.08, 0.25, 3),
                shade(green, rng.uniform(0.6, 1.3)),
            )
    elif kind == "post":
        mesh.limb([(0, 0, 0), (0, rng.uniform(0.8, 1.5), 0)], rng.uniform(0.03, 0.08), paint, pattern=1)
    elif kind == "fence":
        for k in range(int(rng.integers(3, 7))):
            mesh.box((0.02, 0.22, 0.22 * k - 0.5), (0.05, 0.45, 0.1), paint, pattern=0.5)
        mesh.box((-0.02, 0.3, 0), (0.04, 0.06, 1.3), paint)
    else:
        for _ in range(rng.integers(3, 8)):
            start = rng.uniform(-0.4, 0.4, 3) + [0, 0.45, 0]
            end = start + rng.normal(0, 0.35, 3)
            start[1], end[1] = abs(start[1]), abs(end[1])
            mesh.limb([start, end], rng.uniform(0.03, 0.2, 2), coat(rng))
    return mesh
