"""Articulated persons: fourteen joints, clothes, hair, and the things that people do with arms and legs."""

import colorsys

import numpy as np

from course_utils.joints import JOINTS
from course_utils.toys.animals import BLACK, WHITE, painted, shade
from course_utils.toys.mesh import Mesh, rotation


def person(rng: np.random.Generator, amount: float = 1.0) -> tuple[Mesh, np.ndarray]:
    """Model of a person and its joints (14, 3) in the order of ``datasets.base.JOINTS``.

    *amount* scales how far the pose leaves a soldier's stance.
    """
    mesh = Mesh()

    def swing(low, high):
        return amount * rng.uniform(low, high)

    skin = colorsys.hsv_to_rgb(rng.uniform(0.03, 0.09), rng.uniform(0.25, 0.65), rng.uniform(0.3, 0.97))
    shirt, trousers = painted(rng, (0.0, 0.95), (0.15, 0.98)), painted(rng, (0.0, 0.8), (0.1, 0.9))
    shoes, hair = (
        shade(painted(rng), rng.uniform(0.2, 0.9)),
        colorsys.hsv_to_rgb(0.08, rng.uniform(0, 0.8), rng.uniform(0.05, 0.8)),
    )
    thigh, shin = rng.uniform(0.21, 0.27), rng.uniform(0.2, 0.27)
    torso, upper, fore = rng.uniform(0.28, 0.36), rng.uniform(0.16, 0.2), rng.uniform(0.15, 0.19)
    head_r, broad = rng.uniform(0.095, 0.14), rng.uniform(0.11, 0.16)
    stout = rng.uniform(0.8, 1.4)
    pose = rng.choice(["stand", "walk", "run", "sit", "wave", "bend", "kick"]) if rng.uniform() < amount else "stand"

    lean, side_lean, twist = swing(-0.12, 0.2), swing(-0.12, 0.12), swing(-0.4, 0.4)
    hips = {1: [swing(-0.2, 0.2), swing(0, 0.25)], -1: [swing(-0.2, 0.2), swing(0, 0.25)]}
    arms = {
        1: [swing(-0.5, 0.6), rng.uniform(0.05, 0.5), swing(0, 0.8)],
        -1: [swing(-0.5, 0.6), rng.uniform(0.05, 0.5), swing(0, 0.8)],
    }
    if pose in ("walk", "run"):
        stride = rng.uniform(0.35, 0.6) if pose == "walk" else rng.uniform(0.7, 1.1)
        first = rng.choice([-1, 1])
        hips[first], hips[-first] = [stride, 0.2 * stride], [-0.8 * stride, rng.uniform(0.4, 1.2) * stride]
        bent = rng.uniform(0.1, 0.6) if pose == "walk" else rng.uniform(1.1, 1.8)
        arms[first], arms[-first] = [-0.9 * stride, 0.15, bent], [0.9 * stride, 0.15, bent]
        lean += 0.1 * stride
    elif pose == "sit":
        for side in (-1, 1):
            hips[side] = [rng.uniform(1.35, 1.9), rng.uniform(0.1, 1.2)]
    elif pose == "wave":
        for side in ((1,), (-1,), (-1, 1))[rng.integers(3)]:
            arms[side] = [rng.uniform(-0.3, 0.3), rng.uniform(1.8, 2.8), rng.uniform(-0.6, 0.8)]
    elif pose == "bend":
        lean = rng.uniform(0.5, 1.2)
        for side in (-1, 1):
            arms[side][0] = lean + rng.uniform(-0.3, 0.5)
    elif pose == "kick":
        hips[rng.choice([-1, 1])] = [rng.uniform(0.6, 1.3), rng.uniform(0, 0.4)]
        for side in (-1, 1):
            arms[side][1] = rng.uniform(0.4, 1.4)

    # The hips stand at the origin; whoever places the toy puts its lowest point on the ground.
    spine = rotation(twist * 0.5, 0, side_lean) @ rotation(0, -lean)
    neck = spine @ np.array([0, torso, 0])
    joints = {"neck": neck, "head_top": None}
    for side, name in ((1, "r"), (-1, "l")):
        hip = np.array([0, 0, side * 0.062 * stout])
        forward, knee_bend = hips[side]
        outward = 0.04 * side + swing(0, 0.12) * side
        knee = hip + thigh * np.array([np.sin(forward), -np.cos(forward), np.sin(outward)])
        ankle = knee + shin * np.array([np.sin(forward - knee_bend), -np.cos(forward - knee_bend), np.sin(outward)])
        joints |= {f"{name}_hip": hip, f"{name}_knee": knee, f"{name}_ankle": ankle}
        shoulder = neck + spine @ rotation(twist) @ np.array([0, -0.035, side * broad])
        front, aside, elbow_bend = arms[side]

        def reach(front_angle, aside_angle, side=side):
            return np.array(
                [
                    np.sin(front_angle) * np.cos(aside_angle),
                    -np.cos(front_angle) * np.cos(aside_angle),
                    side * np.sin(aside_angle),
                ]
            )

        elbow = shoulder + upper * reach(front, aside)
        wrist = elbow + fore * reach(front + elbow_bend, 0.7 * aside)
        joints |= {f"{name}_shoulder": shoulder, f"{name}_elbow": elbow, f"{name}_wrist": wrist}
    nod = rotation(twist + swing(-0.7, 0.7), -0.5 * lean + swing(-0.25, 0.25))
    head = neck + spine @ np.array([0.01, 0.045, 0]) + nod @ np.array([0.015, 0.9 * head_r, 0])
    joints["head_top"] = head + nod @ np.array([0, 1.05 * head_r, 0])
    pelvis = np.zeros(3)

    sleeve, skirt = rng.uniform(0.3, 2.0), rng.uniform() < 0.2 and pose in ("stand", "walk", "wave")
    short = rng.uniform() < 0.3
    for name in "rl":
        hip, knee, ankle = (joints[f"{name}_{j}"] for j in ("hip", "knee", "ankle"))
        mesh.limb([hip, knee], [0.072 * stout, 0.055 * stout], trousers)
        mesh.limb([knee, ankle], [0.054 * stout, 0.04], skin if short or skirt else trousers)
        mesh.ball(ankle + [0.035, -0.005, 0], [0.075, 0.035, 0.04], shoes, pattern=0, gloss=0.6)
        shoulder, elbow, wrist = (joints[f"{name}_{j}"] for j in ("shoulder", "elbow", "wrist"))
        mesh.limb([shoulder, elbow], [0.05 * stout, 0.04], shirt if sleeve > 0.5 else skin)
        mesh.limb([elbow, wrist], [0.04, 0.031], shirt if sleeve > 1.2 else skin)
        mesh.ball(wrist + 0.25 * (wrist - elbow), 0.042, skin, pattern=0)
    neck = joints["neck"]
    chest = 0.75 * (neck - pelvis) + pelvis
    mesh.limb(
        [pelvis, 0.5 * (pelvis + chest), chest, neck - 0.15 * (neck - chest)],
        [0.1 * stout, 0.105 * stout, 0.115 * stout, 0.06],
        shirt,
        sides=12,
    )
    across = joints["r_shoulder"] - joints["l_shoulder"]
    mesh.limb([joints["l_shoulder"] + 0.1 * across, joints["r_shoulder"] - 0.1 * across], 0.062 * stout, shirt)
    if skirt:
        mesh.lathe([(0.2 * stout, -0.26), (0.1 * stout, 0.03)], trousers, center=pelvis, pattern=0.5)
    else:
        mesh.ball(pelvis, [0.1 * stout, 0.085, 0.12 * stout], trousers)
    mesh.limb([neck - [0, 0.02, 0], head], [0.042, 0.045], skin, pattern=0)

    def at(x, y, z):
        return head + nod @ (np.array([x, y, z]) * head_r)

    mesh.ball(head, [0.92 * head_r, 1.05 * head_r, 0.86 * head_r], skin, turn=nod, pattern=0)
    if rng.uniform() < 0.85:
        mesh.ball(at(-0.3, 0.25, 0), [0.85 * head_r, 0.95 * head_r, 0.95 * head_r], hair, turn=nod, pattern=0)
        if rng.uniform() < 0.3:
            mesh.limb(
                [at(-0.7, 0.2, 0), at(-0.9, -0.9, 0), at(-0.8, -1.8, 0)],
                [0.5 * head_r, 0.5 * head_r, 0.2 * head_r],
                hair,
                pattern=0,
            )
    if rng.uniform() < 0.25:
        hat = painted(rng)
        mesh.lathe(
            [
                (1.35 * head_r, 0),
                (1.35 * head_r, 0.08 * head_r),
                (0.85 * head_r, 0.12 * head_r),
                (0.75 * head_r, rng.uniform(0.5, 1.0) * head_r),
            ],
            hat,
            center=at(0, 0.62, 0),
        )
    for side in (-1, 1):
        mesh.ball(at(0.8, 0.1, side * 0.32), 0.15 * head_r, WHITE, pattern=0, gloss=0.8)
        mesh.ball(at(0.9, 0.1, side * 0.33), 0.1 * head_r, BLACK, pattern=0, gloss=0.8)
    mesh.ball(at(0.92, -0.15, 0), 0.13 * head_r, shade(skin, 0.92), pattern=0)
    return mesh, np.stack([joints[name] for name in JOINTS])
