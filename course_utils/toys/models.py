"""Every class of ToyVOC and of ToyNet, and the function that builds one toy of it."""

from collections.abc import Callable
from functools import partial

import numpy as np

from course_utils.toys.animals import bird, quadruped
from course_utils.toys.mesh import Mesh
from course_utils.toys.others import OTHERS
from course_utils.toys.people import person
from course_utils.toys.things import bus, car, chair

MODELS: dict[str, Callable[[np.random.Generator, float], Mesh | tuple[Mesh, np.ndarray]]] = {
    "bus": bus,
    "car": car,
    "cat": partial(quadruped, species="cat"),
    "chair": chair,
    "dog": partial(quadruped, species="dog"),
    "duck": partial(bird, species="duck"),
    "goose": partial(bird, species="goose"),
    "horse": partial(quadruped, species="horse"),
    "person": person,
    "sheep": partial(quadruped, species="sheep"),
}


def build(name: str, rng: np.random.Generator, amount: float) -> tuple[Mesh, np.ndarray | None]:
    """A toy of class *name* and its joints (14, 3), None unless it is a person.

    *amount* (0 to 1) is how far pose and proportions may leave the average; ToyNet's classes always vary in full.
    """
    if name in OTHERS:
        return OTHERS[name](rng), None
    made = MODELS[name](rng, amount=amount)
    return made if isinstance(made, tuple) else (made, None)
