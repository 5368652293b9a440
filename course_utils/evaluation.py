"""`evaluate` turns a detector and a data set into a row of the store."""

import hashlib
import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from course_utils.datasets.base import Dataset
from course_utils.datasets.names import map_class, vocabulary
from course_utils.detectors.base import Detector, Learned, name_and_digest
from course_utils.errors import DataError
from course_utils.progress import progress
from course_utils.results import DETECTION, FORMAT, OPTIONAL, TARGET, Row, flat, pack, per_image, unpack
from course_utils.store import Store, key_of
from course_utils.timing import Stages

KEEP_EVERY = 10.0  # seconds of detection that an interruption may cost


def evaluate(detector: Detector, dataset: Dataset, *, store: Store | None = None, command: str = "") -> Row:
    """Run the detector on every image, or take from the store what the same code found before.

    Parameters
    ----------
    detector : Detector
        Fitted or loaded. Where its class names differ from the data set's, `map_class` translates; classes that it
        does not know are left out of the row.
    dataset : Dataset
        Its difficult objects are ignored by every metric.
    store : Store, optional
        None: the course's own.
    command : str
        What to note in the row as the way to make it again.

    Returns
    -------
    Row
        An interrupted run is taken up where it stopped, at most some ten seconds earlier. Raises `DataError` if the
        data set has no images, or detector and data set no class in common.
    """
    if not len(dataset):
        raise DataError(f"{dataset!r} has no images to measure on.")
    store = store or Store()
    to_data = translation(detector.classes, dataset.classes)
    classes = tuple(name for name in dataset.classes if name in to_data.values())
    if not classes:
        raise DataError(
            f"This {detector.system} knows {', '.join(detector.classes)}, and {dataset!r} has none of them. "
            "Fit it on this data set, or choose another one."
        )
    key = measuring_key(detector, dataset, (_run, translation, _relabel))

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        detections, seconds, stages = _run(detector, dataset, store, key)
        info = facts_of(detector, dataset, classes, command) | {
            "format": FORMAT,
            "stage_seconds": {stage: spent / len(dataset) for stage, spent in stages.items()},
            "key": key,
        }
        labels = {detector.classes.index(own) + 1: classes.index(name) + 1 for own, name in to_data.items()}
        of_data = {dataset.classes.index(name) + 1: k for k, name in enumerate(classes, 1)}
        with dataset.masks_left_out():
            targets = [_relabel(dataset.target(i), of_data) for i in range(len(dataset))]
        return pack(Row(info, [_relabel(found, labels) for found in detections], targets, seconds))

    return unpack(*store.keep("rows", key, make))


def measuring_key(learned: Learned, dataset: Dataset, code: tuple[Any, ...]) -> str:
    """The store's key of what the system does on a data set; ``code`` is what runs it and reads the result."""
    return key_of(
        code=(type(learned), *code),
        config={
            "config": {name: value for name, value in learned.config.items() if name != "seed"},
            "device": str(getattr(learned, "device", "cpu")),  # what is measured holds its seconds
            "parameters": {name: _digest(value) for name, value in learned.parameters.items()},
            "knows": learned.classes,
        },
        data=name_and_digest(dataset),
        seed=learned.seed,
    )


def facts_of(learned: Learned, dataset: Dataset, classes: Sequence[str], command: str) -> dict[str, Any]:
    """What is noted with every measurement of a system, whatever its task: where from, on what, with what."""
    return {
        "system": learned.system,
        "label": _label(learned),
        "config": learned.config,
        "trained_on": {name: value for name, value in learned.trained_on.items() if name != "images"},
        "learned_from_too": len(set(dataset.image_hashes) & set(learned.trained_on["images"])),
        "data": {"name": dataset.name, "split": dataset.split, "digest": dataset.digest},
        "classes": list(classes),
        "hardware": hardware(),
        "versions": {name: version(name) for name in ("course_utils", "numpy", "torch", "torchvision")},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": command,
    }


def _run(
    detector: Detector, dataset: Dataset, store: Store, key: str
) -> tuple[list[dict[str, Tensor]], Tensor, dict[str, float]]:
    """Detections and seconds of every image, and seconds of each stage; continues what the journal holds."""
    journal = store.journal("rows", key)
    detections: list[dict[str, Tensor]] = []
    seconds: list[float] = []
    stages: dict[str, float] = {}
    for tensors, info in journal.parts():
        detections += per_image(tensors, "found.")
        seconds += tensors["seconds"].tolist()
        stages = info["stages"]
    detector.detect(dataset.image(0))  # compiles and warms up; not counted
    detector.stages = Stages()
    kept, last = len(detections), time.monotonic()
    what = f"{detector.system} on {dataset.name}" + (f" (after {kept})" if kept else "")
    for i in progress(range(kept, len(dataset)), what):
        image = dataset.image(i)
        start = time.perf_counter()
        detections.append(detector.detect(image))
        seconds.append(time.perf_counter() - start)
        if time.monotonic() - last > KEEP_EVERY:
            spent = _sum(stages, detector.stages.seconds)
            part = flat(detections[kept:], DETECTION, "found.") | {"seconds": torch.tensor(seconds[kept:])}
            journal.append(part, {"stages": spent})
            kept, last = len(detections), time.monotonic()
    return detections, torch.tensor(seconds, dtype=torch.float32), _sum(stages, detector.stages.seconds)


def _sum(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {stage: first.get(stage, 0.0) + second.get(stage, 0.0) for stage in first | second}


def _relabel(one: dict[str, Tensor], labels: dict[int, int]) -> dict[str, Tensor]:
    """The boxes whose label is a key of ``labels``, with the label that it gives."""
    keep = torch.tensor([label in labels for label in one["labels"].tolist()], dtype=torch.bool)
    wanted = [key for key in (*DETECTION, *TARGET, *OPTIONAL) if key in one]
    out = {key: one[key][keep] for key in dict.fromkeys(wanted)}
    return out | {"labels": torch.tensor([labels[label] for label in out["labels"].tolist()], dtype=torch.int64)}


def translation(own: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """For each class that a system knows its name in the data set; left out if there is none."""
    names = {name: name for name in own if name in wanted}
    known = [next((v for v in ("toyvoc", "voc", "coco") if set(c) <= set(vocabulary(v))), None) for c in (own, wanted)]
    if None not in known:
        for name in own:
            there = [found for found in map_class(name, *known) if found in wanted]
            if len(there) == 1:
                names.setdefault(name, there[0])
    return names


def _digest(values: Tensor) -> str:
    content = values.detach().cpu().contiguous()
    return hashlib.sha256(f"{content.dtype}{tuple(content.shape)}".encode() + content.numpy().tobytes()).hexdigest()


def _label(detector: Learned) -> str:
    """``system`` alone in its usual configuration, else followed by what differs."""
    usual = type(detector)().config
    changed = [f"{name}={value}" for name, value in detector.config.items() if value != usual[name]]
    return f"{detector.system}({', '.join(changed)})" if changed else detector.system


def hardware() -> dict[str, Any]:
    """What the seconds of a row were measured on."""
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }
