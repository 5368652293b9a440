"""Twenty-four classes that ToyVOC does not have, for pretraining: the stand-in for ImageNet's thousand."""

from collections.abc import Callable

import numpy as np

from course_utils.toys.animals import BLACK, WHITE, coat, painted, shade
from course_utils.toys.mesh import Mesh, rotation
from course_utils.toys.things import GLASS

OTHERS: dict[str, Callable[[np.random.Generator], Mesh]] = {}


def _other(add_solids: Callable[[Mesh, np.random.Generator], None]) -> None:
    def build(rng: np.random.Generator) -> Mesh:
        mesh = Mesh()
        add_solids(mesh, rng)
        mesh.stretch(np.exp(rng.normal(0, 0.15, 3)))
        return mesh

    OTHERS[add_solids.__name__.removeprefix("_")] = build


def _eyes(mesh, x, y, z, r):
    for side in (-1, 1):
        mesh.ball((x, y, side * z), r, WHITE, pattern=0, gloss=0.9)
        mesh.ball((x + 0.6 * r, y, side * z), 0.65 * r, BLACK, pattern=0, gloss=0.9)


@_other
def _aeroplane(mesh, rng):
    body, wing, y = painted(rng), painted(rng), rng.uniform(0.25, 0.5)
    fat, span = rng.uniform(0.09, 0.15), rng.uniform(0.5, 0.85)
    mesh.limb([(-0.8, y + 0.05, 0), (-0.2, y, 0), (0.5, y, 0), (0.75, y, 0)], [0.04, fat, fat, 0.06], body)
    sweep = rng.uniform(0, 0.35)
    for side in (-1, 1):
        mesh.ball(
            (0.1 - sweep / 2, y, side * span / 2), (0.16, 0.025, span / 2 + 0.05), wing, turn=rotation(side * sweep)
        )
        mesh.ball((-0.72, y + 0.06, side * 0.14), (0.09, 0.02, 0.16), wing)
    mesh.ball((-0.75, y + 0.17, 0), (0.1, 0.16, 0.02), wing)
    mesh.ball((0.45, y + 0.6 * fat, 0), (0.14, 0.07, 0.07), GLASS, pattern=0, gloss=1)


@_other
def _boat(mesh, rng):
    hull, sail = painted(rng), painted(rng, (0, 0.6), (0.6, 1))
    h, long = rng.uniform(0.15, 0.3), rng.uniform(0.5, 0.75)
    mesh.prism(
        [(-0.75 * long, 0), (0.7 * long, 0), (1.1 * long, h), (-long, h)], rng.uniform(0.15, 0.25), hull, pattern=0.5
    )
    if rng.uniform() < 0.6:
        mast = rng.uniform(0.7, 1.1)
        mesh.limb([(0, h, 0), (0, h + mast, 0)], 0.02, coat(rng))
        mesh.prism([(-0.7 * long, h + 0.1), (-0.03, h + 0.1), (-0.03, h + 0.95 * mast)], 0.015, sail, pattern=1)
        mesh.prism([(0.04, h + 0.1), (0.7 * long, h + 0.1), (0.04, h + 0.8 * mast)], 0.015, shade(sail, 0.8), pattern=1)
    else:
        mesh.box((-0.1, h + 0.12, 0), (0.6 * long, 0.24, 0.25), sail)
        mesh.lathe([(0.07, h + 0.2), (0.07, h + 0.5)], painted(rng))


@_other
def _bottle(mesh, rng):
    r, h, neck = rng.uniform(0.12, 0.22), rng.uniform(0.4, 0.7), rng.uniform(0.04, 0.08)
    mesh.lathe([(r, 0), (r, h), (neck, h + rng.uniform(0.1, 0.2)), (neck, h + 0.35)], painted(rng), gloss=1)
    mesh.lathe([(1.25 * neck, h + 0.33), (1.25 * neck, h + 0.4)], painted(rng))
    mesh.lathe([(1.02 * r, 0.25 * h), (1.02 * r, 0.75 * h)], painted(rng, (0, 0.5), (0.6, 1)), pattern=1)


@_other
def _cactus(mesh, rng):
    green = shade((0.25, 0.6, 0.3), rng.uniform(0.6, 1.4))
    h, r = rng.uniform(0.7, 1.1), rng.uniform(0.09, 0.16)
    mesh.limb([(0, 0.1, 0), (0, h, 0)], r, green, pattern=1)
    for side in (-1, 1):
        y, out = rng.uniform(0.3, 0.6) * h, rng.uniform(0.2, 0.35)
        mesh.limb(
            [(0, y, 0), (0.2 * out, y, side * out), (0.2 * out, y + rng.uniform(0.2, 0.45), side * out)],
            0.65 * r,
            green,
            pattern=1,
        )
    mesh.lathe([(0.18, 0), (0.25, 0.2)], painted(rng))


@_other
def _castle(mesh, rng):
    stone, roof = coat(rng), painted(rng)
    w, h = rng.uniform(0.3, 0.45), rng.uniform(0.3, 0.5)
    mesh.box((0, h / 2, 0), (2 * w, h, 2 * w), stone, pattern=1)
    for x in (-w, w):
        for z in (-w, w):
            r, top = 0.13, h * rng.uniform(1.2, 1.7)
            mesh.lathe([(r, 0), (r, top)], shade(stone, 0.9), center=(x, 0, z), pattern=1)
            mesh.lathe([(1.2 * r, top), (0.02, top + 0.3)], roof, center=(x, 0, z))
    mesh.box((w, 0.12, 0), (0.04, 0.25, 0.18), shade(BLACK, 2))


@_other
def _crab(mesh, rng):
    shell = painted(rng)
    mesh.ball((0, 0.2, 0), (0.28, 0.16, rng.uniform(0.32, 0.45)), shell)
    for side in (-1, 1):
        for x in (-0.2, -0.05, 0.1):
            mesh.limb([(x, 0.2, side * 0.3), (x - 0.05, 0.32, side * 0.55), (x, 0.02, side * 0.7)], 0.03, shell)
        mesh.limb([(0.15, 0.2, side * 0.3), (0.4, 0.25, side * 0.5), (0.55, 0.3, side * 0.35)], 0.045, shell)
        mesh.ball((0.6, 0.32, side * 0.3), (0.16, 0.09, 0.1), shade(shell, 0.85))
    _eyes(mesh, 0.2, 0.42, 0.1, 0.05)


@_other
def _dice(mesh, rng):
    side, turn = rng.uniform(0.5, 0.9), rotation(rng.uniform(0, 3))
    body, dot = painted(rng, (0, 0.9), (0.6, 1)), shade(BLACK, 2)
    mesh.box((0, side / 2, 0), (side,) * 3, body, bevel=0.15, turn=turn)
    for axis in range(3):
        for sign in (-1, 1):
            for _ in range(rng.integers(1, 6)):
                at = rng.choice([-0.27, 0, 0.27], 3) * side
                at[axis] = sign * 0.5 * side
                mesh.ball(turn @ at + [0, side / 2, 0], 0.07 * side, dot, pattern=0)


@_other
def _fish(mesh, rng):
    body, fin = painted(rng), painted(rng)
    long, high, y = rng.uniform(0.4, 0.6), rng.uniform(0.17, 0.34), 0.4
    mesh.ball((0, y, 0), (long, high, rng.uniform(0.1, 0.17)), body)
    mesh.prism([(-long - 0.25, y + 0.26), (-0.85 * long, y), (-long - 0.25, y - 0.26), (-long - 0.12, y)], 0.03, fin)
    mesh.prism([(-0.2 * long, y + 0.8 * high), (0.3 * long, y + 0.8 * high), (-0.2, y + 1.5 * high)], 0.03, fin)
    for side in (-1, 1):
        mesh.ball((0.05, y - 0.1, side * 0.16), (0.12, 0.03, 0.08), fin, turn=rotation(0, -0.5))
    _eyes(mesh, 0.7 * long, y + 0.08, 0.07, 0.05)
    mesh.limb([(0, 0, 0), (0, y - 0.5 * high, 0)], 0.02, coat(rng))


@_other
def _flower(mesh, rng):
    stem, petal, h = (0.2, 0.5, 0.2), painted(rng, (0.5, 1), (0.6, 1)), rng.uniform(0.5, 0.9)
    mesh.limb([(0, 0, 0), (rng.uniform(-0.1, 0.1), h / 2, 0), (0.05, h, 0)], 0.025, stem)
    count, face = int(rng.integers(5, 10)), rotation(0, rng.uniform(-1.2, 0.2))
    for a in np.linspace(0, 2 * np.pi, count, endpoint=False):
        at = face @ np.array([0.2 * np.cos(a), 0, 0.2 * np.sin(a)])
        mesh.ball(at + [0.05, h, 0], (0.14, 0.035, 0.085), petal, turn=face @ rotation(-a))
    mesh.ball((0.05, h + 0.02, 0), 0.1, painted(rng), pattern=0.5)
    mesh.ball((0.1, 0.3 * h, 0.12), (0.12, 0.02, 0.06), stem, turn=rotation(1, 0.5))


@_other
def _guitar(mesh, rng):
    wood, neck = coat(rng), shade(coat(rng), 0.5)
    lean = rotation(0, 0, 0)
    mesh.ball((0, 0.25, 0), (0.08, 0.26, 0.3), wood)
    mesh.ball((0, 0.55, 0), (0.07, 0.19, 0.21), wood)
    mesh.box((0.06, 0.95, 0), (0.04, 0.75, 0.07), neck, turn=lean)
    mesh.box((0.05, 1.36, 0), (0.05, 0.16, 0.13), wood)
    mesh.ball((0.075, 0.45, 0), (0.02, 0.09, 0.09), BLACK, pattern=0)
    mesh.box((0.08, 0.22, 0), (0.02, 0.04, 0.16), neck)


@_other
def _hammer(mesh, rng):
    handle, head, h = coat(rng), shade((0.7, 0.7, 0.75), rng.uniform(0.4, 1.2)), rng.uniform(0.7, 1.0)
    mesh.limb([(0, 0, 0), (0, h, 0)], [0.05, 0.035], handle)
    mesh.box((0.05, h, 0), (0.42, 0.15, 0.15), head, gloss=0.9)
    mesh.limb([(-0.15, h, 0), (-0.38, h + rng.uniform(-0.12, 0.02), 0)], [0.06, 0.02], head, gloss=0.9)


@_other
def _house(mesh, rng):
    wall, roof = painted(rng, (0, 0.7), (0.5, 1)), painted(rng)
    w, d, h, top = rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.45), rng.uniform(0.35, 0.6), rng.uniform(0.2, 0.45)
    mesh.box((0, h / 2, 0), (2 * w, h, 2 * d), wall, pattern=1)
    mesh.prism([(-1.15 * w, h), (1.15 * w, h), (0, h + top)], 1.1 * d, roof, pattern=1)
    for x in (-0.5 * w, 0.5 * w):
        mesh.box((x, 0.62 * h, 0), (0.3 * w, 0.3 * h, 2.02 * d), GLASS, gloss=1)
    mesh.box((0, 0.22 * h, 0), (0.28 * w, 0.44 * h, 2.03 * d), shade(roof, 0.5))
    mesh.box((0.5 * w, h + 0.7 * top, 0.2 * d), (0.1, 0.5 * top, 0.1), shade(wall, 0.6))


@_other
def _lamp(mesh, rng):
    h, r, metal = rng.uniform(0.6, 1.0), rng.uniform(0.2, 0.35), coat(rng)
    mesh.lathe([(0.2, 0), (0.17, 0.05), (0.03, 0.08), (0.03, h)], metal)
    mesh.lathe([(r, h - 0.05), (rng.uniform(0.3, 0.8) * r, h + 0.3)], painted(rng, (0, 0.7), (0.7, 1)), pattern=1)


@_other
def _mug(mesh, rng):
    r, h, clay = rng.uniform(0.25, 0.35), rng.uniform(0.4, 0.7), painted(rng)
    mesh.lathe([(0.9 * r, 0), (r, h)], clay, pattern=1, gloss=0.9)
    mesh.lathe([(0.88 * r, h), (0.88 * r, h + 0.005)], shade(coat(rng), 0.5))
    mesh.limb(
        [(0.95 * r, 0.8 * h, 0), (1.6 * r, 0.75 * h, 0), (1.6 * r, 0.3 * h, 0), (0.92 * r, 0.25 * h, 0)], 0.05, clay
    )


@_other
def _mushroom(mesh, rng):
    h, r = rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.5)
    mesh.lathe([(0.13, 0), (0.1, h)], shade(WHITE, rng.uniform(0.7, 1)), pattern=0.3)
    cap = painted(rng)
    mesh.lathe([(r, h), (0.95 * r, h + 0.1), (0.6 * r, h + 0.3), (0.15 * r, h + 0.37)], cap, gloss=0.6)
    for _ in range(rng.integers(0, 9)):
        a, t = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.85)
        mesh.ball((t * r * np.cos(a), h + 0.35 * (1 - t) + 0.15, t * r * np.sin(a)), 0.06, WHITE, pattern=0)


@_other
def _robot(mesh, rng):
    body, part = painted(rng, (0, 0.8), (0.4, 1)), shade((0.7, 0.7, 0.75), rng.uniform(0.4, 1.2))
    w = rng.uniform(0.18, 0.28)
    mesh.box((0, 0.52, 0), (0.8 * w, 0.42, 2 * w), body, pattern=0.5)
    mesh.box((0, 0.9, 0), (0.26, 0.26, 0.34), part)
    mesh.limb([(0, 1.03, 0), (0, 1.2, 0)], 0.015, part)
    mesh.ball((0, 1.22, 0), 0.04, painted(rng))
    for side in (-1, 1):
        mesh.box((0, 0.15, side * 0.55 * w), (0.13, 0.3, 0.12), part)
        mesh.limb(
            [(0, 0.68, side * w), (0.1, 0.5, side * (w + 0.12)), (rng.uniform(0, 0.35), 0.4, side * (w + 0.1))],
            0.05,
            part,
        )
    _eyes(mesh, 0.14, 0.93, 0.08, 0.05)


@_other
def _rocket(mesh, rng):
    body, fin, h, r = painted(rng, (0, 0.6), (0.6, 1)), painted(rng), rng.uniform(0.8, 1.1), rng.uniform(0.13, 0.2)
    mesh.lathe([(0.8 * r, 0.1), (r, 0.4 * h), (0.8 * r, 0.75 * h), (0.01, h + 0.15)], body, pattern=0.5)
    for a in np.linspace(0, 2 * np.pi, 4)[:3] + 0.5:
        mesh.prism([(0.7 * r, 0.1), (r + 0.2, 0), (r + 0.18, 0.15), (0.8 * r, 0.4)], 0.02, fin, turn=rotation(a))
    mesh.ball((0.85 * r, 0.6 * h, 0), (0.05, 0.08, 0.08), GLASS, pattern=0, gloss=1)


@_other
def _snail(mesh, rng):
    skin, shell, r = coat(rng), painted(rng), rng.uniform(0.24, 0.34)
    mesh.limb([(-0.5, 0.04, 0), (0.2, 0.08, 0), (0.45, 0.12, 0), (0.52, 0.35, 0)], [0.04, 0.1, 0.09, 0.08], skin)
    mesh.ball((-0.05, r + 0.06, 0), (r, r, 0.65 * r), shell)
    for k, t in enumerate(np.linspace(0, 4 * np.pi, 14)):
        rr = r * (1 - k / 16)
        for side in (-1, 1):
            mesh.ball(
                (-0.05 + 0.75 * rr * np.cos(t), r + 0.06 + 0.75 * rr * np.sin(t), side * 0.6 * r * (1 - 0.35 * rr / r)),
                0.05,
                shade(shell, 0.55),
                pattern=0,
            )
    for side in (-1, 1):
        mesh.limb([(0.54, 0.4, side * 0.03), (0.6, 0.55, side * 0.08)], 0.015, skin)
        mesh.ball((0.6, 0.56, side * 0.08), 0.03, BLACK, pattern=0)


@_other
def _snake(mesh, rng):
    t = np.linspace(0, 1, 14)
    turns, wide, r = rng.uniform(1, 2.5), rng.uniform(0.15, 0.35), rng.uniform(0.05, 0.09)
    path = np.column_stack([t * 1.4 - 0.7, r + 0 * t, wide * np.sin(2 * np.pi * turns * t + rng.uniform(0, 6))])
    path[-3:, 1] += [0.05, 0.15, rng.uniform(0.2, 0.45)]
    skin = painted(rng)
    mesh.limb(path, np.r_[0.01, np.full(13, r)], skin, bend=1)
    mesh.ball(path[-1] + [0.06, 0.02, 0], (0.12, 0.07, 0.09), skin)
    for side in (-1, 1):
        mesh.ball(path[-1] + [0.12, 0.06, side * 0.05], 0.025, BLACK, pattern=0, gloss=1)


@_other
def _snowman(mesh, rng):
    snow, r = shade(WHITE, rng.uniform(0.8, 1.05)), rng.uniform(0.26, 0.34)
    mesh.ball((0, r, 0), r, snow)
    mesh.ball((0, 2.4 * r, 0), 0.72 * r, snow)
    mesh.ball((0, 3.5 * r, 0), 0.5 * r, snow)
    mesh.limb([(0.45 * r, 3.5 * r, 0), (0.95 * r, 3.45 * r, 0)], [0.06, 0.01], (0.95, 0.5, 0.1), pattern=0)
    _eyes(mesh, 0.42 * r, 3.65 * r, 0.18 * r, 0.03)
    mesh.lathe(
        [(0.55 * r, 0), (0.55 * r, 0.04), (0.35 * r, 0.05), (0.35 * r, 0.25)],
        shade(BLACK, rng.uniform(1, 4)),
        center=(0, 3.85 * r, 0),
    )
    for side in (-1, 1):
        mesh.limb([(0, 2.5 * r, side * 0.6 * r), (0.1, 2.8 * r, side * 1.5 * r)], 0.025, (0.35, 0.22, 0.1))


@_other
def _spider(mesh, rng):
    skin = shade(coat(rng), 0.6)
    mesh.ball((-0.25, 0.28, 0), (0.27, 0.2, 0.22), skin)
    mesh.ball((0.1, 0.24, 0), (0.16, 0.12, 0.14), shade(skin, 1.3))
    for side in (-1, 1):
        for x in (-0.12, 0.02, 0.12, 0.2):
            out = 3 * (x - 0.05)
            mesh.limb(
                [
                    (x, 0.24, side * 0.1),
                    (x + 0.5 * out, 0.5, side * 0.4),
                    (x + out, 0.01, side * rng.uniform(0.6, 0.75)),
                ],
                0.022,
                skin,
            )
    _eyes(mesh, 0.24, 0.3, 0.05, 0.03)


@_other
def _table(mesh, rng):
    wood, w, d, h = coat(rng), rng.uniform(0.4, 0.7), rng.uniform(0.25, 0.45), rng.uniform(0.4, 0.65)
    if rng.uniform() < 0.5:
        mesh.box((0, h, 0), (2 * w, 0.06, 2 * d), wood, pattern=1)
        for x in (-0.9, 0.9):
            for z in (-0.9, 0.9):
                mesh.limb([(x * w, h, z * d), (x * w, 0.02, z * d)], 0.035, wood)
    else:
        mesh.lathe([(w, h), (w, h + 0.05)], wood, pattern=1)
        mesh.lathe([(0.25, 0), (0.05, 0.08), (0.05, h)], wood)


@_other
def _train(mesh, rng):
    paint, other = painted(rng), painted(rng)
    mesh.box((0, 0.16, 0), (1.3, 0.08, 0.34), shade(BLACK, 2))
    mesh.limb([(-0.1, 0.38, 0), (0.6, 0.38, 0)], 0.17, paint, round_ends=False, pattern=0.4)
    mesh.box((-0.4, 0.45, 0), (0.42, 0.5, 0.4), other, pattern=0.4)
    mesh.box((-0.4, 0.72, 0), (0.5, 0.05, 0.46), shade(other, 0.6))
    mesh.box((-0.4, 0.55, 0), (0.22, 0.18, 0.41), GLASS, gloss=1)
    mesh.lathe([(0.05, 0.5), (0.05, 0.68), (0.09, 0.75)], shade(BLACK, 2), center=(0.45, 0, 0))
    for x in (-0.45, -0.1, 0.2, 0.48):
        for side in (-1, 1):
            mesh.wheel((x, 0.11, side * 0.18), 0.11, 0.03, shade(BLACK, 3), hub=other)


@_other
def _umbrella(mesh, rng):
    cloth, h, r = painted(rng), rng.uniform(0.7, 1.0), rng.uniform(0.4, 0.6)
    mesh.limb([(0, 0.02, 0), (0, h + 0.28, 0)], 0.02, coat(rng))
    mesh.lathe([(r, h), (0.8 * r, h + 0.12), (0.45 * r, h + 0.22), (0.02, h + 0.27)], cloth, pattern=1)
    mesh.limb([(0, 0.05, 0), (0.05, 0.0, 0), (0.12, 0.05, 0)], 0.025, shade(BLACK, 3))
