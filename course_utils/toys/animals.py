"""Cat, dog, horse, sheep, duck and goose: one quadruped and one bird, shaped by a table of ranges."""

import colorsys
from dataclasses import dataclass

import numpy as np

from course_utils.toys.mesh import Mesh, rotation

BLACK, WHITE = (0.05, 0.05, 0.06), (0.95, 0.94, 0.9)


@dataclass(frozen=True)
class Quadruped:
    """Ranges in body heights; *ears* and *tail* name shapes, *poses* what the animal likes to do."""

    body: tuple[float, float]
    girth: tuple[float, float]
    leg: tuple[float, float]
    leg_radius: tuple[float, float]
    neck: tuple[float, float]
    neck_angle: tuple[float, float]
    head: tuple[float, float]
    snout: tuple[float, float]
    snout_width: float
    ears: tuple[str, ...]
    tail: tuple[float, float]
    poses: tuple[str, ...]


QUADRUPEDS = {
    "cat": Quadruped(
        (0.62, 0.9),
        (0.14, 0.21),
        (0.28, 0.42),
        (0.045, 0.065),
        (0.1, 0.18),
        (0.2, 1.0),
        (0.16, 0.22),
        (0.03, 0.09),
        0.6,
        ("cone",),
        (0.45, 0.75),
        ("stand", "walk", "sit", "sit", "lie", "stretch"),
    ),
    "dog": Quadruped(
        (0.65, 0.95),
        (0.14, 0.22),
        (0.34, 0.58),
        (0.045, 0.075),
        (0.14, 0.3),
        (0.4, 1.1),
        (0.14, 0.2),
        (0.12, 0.26),
        0.5,
        ("floppy", "floppy", "cone"),
        (0.18, 0.5),
        ("stand", "walk", "walk", "sit", "lie", "stretch"),
    ),
    "horse": Quadruped(
        (0.85, 1.1),
        (0.19, 0.26),
        (0.6, 0.85),
        (0.045, 0.07),
        (0.42, 0.62),
        (0.6, 1.15),
        (0.13, 0.17),
        (0.24, 0.36),
        0.65,
        ("small",),
        (0.4, 0.6),
        ("stand", "walk", "walk", "graze", "lie"),
    ),
    "sheep": Quadruped(
        (0.65, 0.9),
        (0.24, 0.34),
        (0.22, 0.38),
        (0.035, 0.06),
        (0.14, 0.26),
        (0.2, 0.9),
        (0.12, 0.17),
        (0.1, 0.18),
        0.7,
        ("side",),
        (0.08, 0.16),
        ("stand", "stand", "walk", "graze", "lie"),
    ),
}


def shade(color, factor: float) -> tuple[float, ...]:
    """A colour made darker (factor < 1) or lighter."""
    return tuple(float(np.clip(c * factor, 0, 1)) for c in color)


def painted(rng: np.random.Generator, saturation=(0.35, 0.95), value=(0.35, 0.95)) -> tuple[float, ...]:
    """Any colour from the paint box."""
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))


def coat(rng: np.random.Generator) -> tuple[float, ...]:
    """Fur or feathers: mostly brown, ginger, grey, black, cream; one toy in five is painted in any colour."""
    if rng.uniform() < 0.2:
        return painted(rng)
    hue, saturation = rng.uniform(0.04, 0.13), rng.uniform(0.0, 0.75)
    return colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.12, 0.95))


def _eye(mesh: Mesh, center, radius, outward):
    mesh.ball(center, radius, WHITE, pattern=0, gloss=0.9)
    mesh.ball(np.asarray(center) + 0.55 * radius * outward, 0.7 * radius, BLACK, pattern=0, gloss=0.9)


def quadruped(rng: np.random.Generator, species: str, amount: float = 1.0) -> Mesh:
    """Model of a cat, dog, horse or sheep.

    *amount* scales how far pose and proportions leave the middle of their range: 0 gives the stiff average toy.
    """
    s, mesh = QUADRUPEDS[species], Mesh()

    def pick(bounds):
        middle, half = (bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2
        return float(np.clip(middle + amount * rng.uniform(-half, half), 0.7 * bounds[0], 1.3 * bounds[1]))

    def swing(limit):
        return amount * rng.uniform(-limit, limit)

    pose = s.poses[rng.integers(len(s.poses))] if rng.uniform() < amount else "stand"
    length, girth, leg, leg_r = pick(s.body), pick(s.girth), pick(s.leg), pick(s.leg_radius)
    fur = coat(rng) if species != "sheep" else tuple(np.clip(np.array(WHITE) * rng.uniform(0.35, 1.0), 0, 1))
    second = WHITE if rng.uniform() < 0.4 else coat(rng)
    socks = second if rng.uniform() < 0.4 else shade(fur, rng.uniform(0.6, 1.0))
    face = shade(coat(rng), rng.uniform(0.3, 1.0)) if species == "sheep" else fur
    if species == "sheep":
        socks = face

    hip, shoulder = np.array([-length / 2, leg, 0.0]), np.array([length / 2, leg, 0.0])
    if pose == "sit":
        hip, shoulder = np.array([-0.3 * length, 0.8 * girth, 0.0]), np.array([0.25 * length, 0.62 * length + 0.1, 0.0])
    elif pose == "lie":
        hip[1] = shoulder[1] = 0.85 * girth
    elif pose == "stretch":
        shoulder[1] = max(0.45 * leg, 0.7 * girth)
    bend = swing(0.16 * length)
    middle = (hip + shoulder) / 2 + [0, swing(0.05), bend]
    chest_r, hip_r = girth * pick((0.9, 1.15)), girth * pick((0.8, 1.05))
    mesh.limb(
        [hip - [0.02, 0, 0], (hip + middle) / 2, middle, (middle + shoulder) / 2, shoulder],
        [hip_r, girth, girth * pick((0.85, 1.1)), chest_r, 0.9 * chest_r],
        fur,
        sides=12,
    )
    if species == "sheep":
        for _ in range(26):
            t, angle = rng.uniform(-0.1, 1.1), rng.uniform(-0.5, np.pi + 0.5)
            where = hip + t * (shoulder - hip) + [0, 0.85 * girth * np.sin(angle), 0.9 * girth * np.cos(angle)]
            mesh.ball(where + [0, 0, bend * (1 - abs(2 * t - 1))], rng.uniform(0.35, 0.55) * girth, fur)

    for side in (-1, 1):
        for front, root in ((True, shoulder), (False, hip)):
            spread = 0.55 * (chest_r if front else hip_r)
            top = root + [0, -0.25 * girth, side * spread]
            if pose == "lie":
                reach = 0.45 * leg * (1 if front else 0.6)
                knee, foot = top + [0.5 * reach, 0, side * 0.03], top + [2 * reach, 0, side * 0.02]
                knee[1], foot[1] = leg_r * 1.6, leg_r
            elif pose == "sit" and not front:
                mesh.ball(top + [0.06, 0, side * 0.05], [0.75 * girth, 0.7 * girth, 0.4 * girth], fur)
                knee, foot = top + [0.6 * girth, -0.2 * girth, 0.05 * side], top + [1.1 * girth, 0, 0.07 * side]
                foot[1], knee[1] = leg_r, max(leg_r, knee[1])
            elif pose == "stretch" and front:
                knee, foot = top + [0.5 * leg, -0.2 * leg, 0], top + [0.95 * leg, 0, 0]
                foot[1], knee[1] = leg_r, max(leg_r, knee[1] * 0.6)
            else:
                stride = swing(0.75) if pose == "walk" else swing(0.2)
                reach = top[1] - leg_r
                knee = top + [0.5 * reach * np.sin(stride) + (0.03 if front else -0.05), -0.5 * reach, 0]
                foot = top + [1.0 * reach * np.sin(stride), 0, side * 0.01]
                foot[1] = leg_r + (0.25 * reach * max(0, np.sin(abs(stride)) - 0.3) if pose == "walk" else 0)
            thick = leg_r * (1.0 if front else 1.15)
            mesh.limb([top, knee, foot], [1.5 * thick, thick, 0.85 * thick], fur, bend=1)
            mesh.ball(foot + [0.3 * leg_r, 0, 0], [1.5 * leg_r, 1.05 * leg_r, 1.2 * leg_r], socks, pattern=0)

    tail_root = hip + [-0.8 * hip_r, 0.35 * hip_r, 0]
    tail, lift = pick(s.tail), rng.uniform(-0.6, 1.3)
    if species == "horse":
        lift = rng.uniform(-1.4, -0.7)
    curl = rng.uniform(-1.2, 1.2)
    tip = tail_root + tail * np.array([-np.cos(lift), np.sin(lift), swing(0.5)])
    half = tail_root + 0.5 * tail * np.array([-np.cos(lift - 0.5 * curl), np.sin(lift - 0.5 * curl), swing(0.4)])
    half[1], tip[1] = max(half[1], 0.05), max(tip[1], 0.04)
    thick = {"cat": 0.035, "dog": 0.04, "horse": 0.06, "sheep": 0.06}[species] * rng.uniform(0.8, 1.6)
    mesh.limb([tail_root, half, tip], [thick, thick, 0.6 * thick], second if rng.uniform() < 0.3 else fur)

    angle = pick(s.neck_angle)
    if pose == "graze":
        angle = rng.uniform(-1.0, -0.5)
    base = shoulder + [0.35 * chest_r, 0.35 * chest_r, 0]
    turn, neck = swing(0.9), pick(s.neck)
    along = np.array([np.cos(angle) * np.cos(turn * 0.6), np.sin(angle), -np.cos(angle) * np.sin(turn * 0.6)])
    head = base + neck * along
    head_r = pick(s.head)
    head[1] = max(head[1], head_r)
    mesh.limb([shoulder, base, head], [0.75 * chest_r, 0.6 * chest_r, 0.8 * head_r], fur)
    if species == "horse":
        mane = shade(second, rng.uniform(0.3, 1.0))
        for t in np.linspace(0.1, 1.0, 6):
            mesh.ball(base + t * (head - base) + [-0.55 * head_r, 0.4 * head_r, swing(0.04)], [0.07, 0.11, 0.05], mane)
    look = rotation(turn * 1.4, swing(0.3) - (0.45 if species == "horse" else 0.0) - (0.6 if pose == "graze" else 0))
    _quadruped_head(mesh, rng, species, s, head, head_r, pick(s.snout), look, face, second)
    return mesh


def _quadruped_head(mesh, rng, species, s, head, head_r, snout, look, face, second):
    def at(x, y, z):
        return head + look @ (np.array([x, y, z]) * head_r)

    mesh.ball(head, [head_r, 0.92 * head_r, 0.92 * head_r], face, turn=look)
    width = s.snout_width * head_r
    muzzle = second if rng.uniform() < 0.4 else shade(face, rng.uniform(0.8, 1.15))
    end = at(0.7 + snout / head_r, -0.35, 0)
    mesh.limb([at(0.4, -0.25, 0), end], [1.1 * width, 0.8 * width], muzzle, pattern=0.4)
    nose = (0.85, 0.45, 0.5) if species == "cat" and rng.uniform() < 0.5 else shade(BLACK, rng.uniform(1, 3))
    mesh.ball(end + look @ np.array([0.75 * width, 0.3 * width, 0]), 0.4 * width, nose, pattern=0, gloss=0.8)
    for side in (-1, 1):
        eye = at(0.72, 0.22, side * 0.48)
        _eye(mesh, eye, 0.17 * head_r, look @ np.array([0.8, 0.1, 0.6 * side]))
    kind = s.ears[rng.integers(len(s.ears))]
    ear_color, size = shade(face, rng.uniform(0.6, 1.1)), rng.uniform(0.8, 1.25)
    for side in (-1, 1):
        if kind in ("cone", "small"):
            size_here = size * (0.6 if kind == "small" else 1.0)
            mesh.limb(
                [at(-0.1, 0.6, side * 0.5), at(-0.12, 0.6 + 0.9 * size_here, side * (0.55 + 0.15 * size_here))],
                [0.36 * head_r, 0.05 * head_r],
                ear_color,
                round_ends=False,
                pattern=0.5,
            )
        elif kind == "floppy":
            tip = at(-0.05, -0.5 * size, side * (1.05 + 0.1 * size))
            mesh.limb(
                [at(-0.1, 0.6, side * 0.7), at(-0.08, 0.3, side * 1.0), tip],
                [0.2 * head_r, 0.3 * head_r, 0.24 * head_r],
                ear_color,
                pattern=0.5,
            )
        else:
            mesh.limb(
                [at(-0.1, 0.4, side * 0.7), at(-0.15, 0.2, side * (1.2 + 0.4 * size))],
                [0.25 * head_r, 0.16 * head_r],
                ear_color,
                pattern=0,
            )


def bird(rng: np.random.Generator, species: str, amount: float = 1.0) -> Mesh:
    """Model of a duck or a goose: the goose has the longer neck and legs, and they share every colour."""
    mesh, goose = Mesh(), species == "goose"

    def pick(low, high):
        return (low + high) / 2 + amount * rng.uniform(-0.5, 0.5) * (high - low)

    def swing(limit):
        return amount * rng.uniform(-limit, limit)

    body, other, beak = coat(rng), coat(rng), colorsys.hsv_to_rgb(rng.uniform(0.03, 0.13), 0.9, rng.uniform(0.6, 0.95))
    if rng.uniform() < 0.35:
        body = WHITE if goose else (0.95, 0.82, 0.2)
    if rng.uniform() < 0.2:
        beak = shade(BLACK, 2)
    head_color = (0.1, 0.4, 0.2) if not goose and rng.uniform() < 0.3 else (other if rng.uniform() < 0.4 else body)
    sitting, feeding = rng.uniform() < 0.35 * amount, rng.uniform() < 0.2 * amount
    leg = 0.0 if sitting else pick(0.16, 0.34) if goose else pick(0.1, 0.22)
    long, high, wide = pick(0.36, 0.5), pick(0.2, 0.28), pick(0.2, 0.28)
    slope = swing(0.3) + 0.12
    tilt = rotation(0, slope)
    center = np.array([0, leg + 0.92 * high, 0])

    def on_body(x, y, z):
        return center + tilt @ np.array([x, y, z])

    mesh.ball(center, [long, high, wide], body, turn=tilt)
    tail_up = pick(-0.05, 0.3)
    mesh.limb(
        [on_body(-0.6 * long, 0.1 * high, 0), on_body(-1.35 * long, (0.4 + tail_up) * high, 0)],
        [0.55 * high, 0.06],
        shade(body, rng.uniform(0.6, 1.0)),
    )
    wing = other if rng.uniform() < 0.6 else shade(body, rng.uniform(0.7, 1.1))
    spread = amount * rng.uniform(0, 0.8) if rng.uniform() < 0.25 else 0.0
    for side in (-1, 1):
        turned = tilt @ rotation(0, rng.uniform(-0.15, 0.1), side * -spread)
        mesh.ball(
            on_body(-0.2 * long, 0.2 * high + 0.4 * spread * high, side * (0.85 + 0.5 * spread) * wide),
            [0.75 * long, 0.55 * high, 0.22 * wide],
            wing,
            turn=turned,
        )
        if not sitting:
            stride = swing(0.5)
            foot = np.array([0.35 * leg * np.sin(stride) * 2, 0.02, side * 0.5 * wide])
            mesh.limb([on_body(0, -0.7 * high, side * 0.45 * wide), foot], [0.03, 0.022], beak, pattern=0)
            mesh.ball(foot + [0.06, 0, 0], [0.1, 0.02, 0.06], beak, pattern=0)
    turn = swing(1.0)
    neck = (pick(0.42, 0.68) if goose else pick(0.16, 0.3)) * (0.75 if sitting else 1.0)
    base = on_body(0.72 * long, 0.45 * high, 0)
    angle = rng.uniform(-0.9, -0.3) if feeding else pick(0.95, 1.5)
    along = np.array([np.cos(angle) * np.cos(0.5 * turn), np.sin(angle), -np.cos(angle) * np.sin(0.5 * turn)])
    head = base + neck * along + ([0.1, 0, 0] if goose else [0.0, 0, 0])
    head_r = pick(0.11, 0.15) if goose else pick(0.14, 0.2)
    head[1] = max(head[1], head_r)
    middle = base + 0.5 * neck * along + [swing(0.08) + (0.1 if goose else 0), 0, 0]
    thin = 0.085 if goose else 0.12
    mesh.limb(
        [on_body(0.4 * long, 0, 0), base, middle, head],
        [0.8 * high, 1.3 * thin, thin, thin],
        head_color if rng.uniform() < 0.5 else body,
    )
    look = rotation(turn * 1.3, swing(0.25) - (0.6 if feeding else 0.0))

    def at(x, y, z):
        return head + look @ (np.array([x, y, z]) * head_r)

    mesh.ball(head, [1.08 * head_r, head_r, 0.92 * head_r], head_color)
    bill = pick(0.9, 1.3)
    mesh.ball(
        at(0.9 + 0.45 * bill, -0.2, 0),
        [0.75 * bill * head_r, 0.2 * head_r, 0.42 * head_r],
        beak,
        turn=look,
        pattern=0,
        gloss=0.6,
    )
    if goose and rng.uniform() < 0.4:
        mesh.ball(at(0.95, 0.2, 0), 0.3 * head_r, beak, pattern=0, gloss=0.6)
    for side in (-1, 1):
        _eye(mesh, at(0.5, 0.3, side * 0.7), 0.17 * head_r, look @ np.array([0.5, 0.1, 0.85 * side]))
    return mesh
