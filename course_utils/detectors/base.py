"""One face for all that learns: ``fit``, ``save``, ``load``; and for every detector, 2005 to 2016, ``detect`` too."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, overload

import numpy as np
from torch import Tensor

from course_utils.boxes import check_boxes
from course_utils.bundle import read_bundle, write_bundle
from course_utils.datasets.base import Dataset
from course_utils.errors import CourseError, DataError
from course_utils.store import Store, key_of
from course_utils.timing import Stages
from course_utils.training import processes

FORMAT = "detector 1"
_HOW_NOT_WHAT = ("device", "resume")  # arguments that say how to compute, and leave the result as it is
L = TypeVar("L", bound="Learned")


class Learned(ABC):
    """What all systems have in common, whatever their task.

    A subclass sets ``system``, keeps every argument of its constructor as an attribute of the same name, and
    implements `_fit`; everything learned goes into ``parameters``.

    Attributes
    ----------
    system : str
        Its name in `course_utils.detectors.SYSTEMS`.
    classes : tuple of str
        Label k means ``classes[k - 1]``; empty before `fit`.
    parameters : dict
        What was learned: names and CPU tensors.
    trained_on : dict
        ``data`` and ``split`` by name, ``n_images``, ``digest`` and ``images`` (their hashes) of the training data.
    """

    system: ClassVar[str]

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self.classes: tuple[str, ...] = ()
        self.parameters: dict[str, Tensor] = {}
        self.trained_on: dict[str, Any] = {}

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, without those that only say how to compute (device, resume)."""
        names = [name for name in inspect.signature(type(self)).parameters if name not in _HOW_NOT_WHAT]
        return {name: getattr(self, name) for name in names}

    @property
    def starts_from(self) -> str:
        """Digest of the parameters that learning begins with, where a file brings them; part of the store's keys."""
        return ""

    # ------------------------------------------------------------------------------------------ for subclasses

    @abstractmethod
    def _fit(self, dataset: Dataset) -> None:
        """Learn ``self.parameters``; ``self.classes`` are those of the data set already."""

    def _restored(self) -> None:  # noqa: B027  (most systems have nothing to do here)
        """Called when ``parameters`` and ``classes`` came from a file: rebuild what is made of them."""

    # ------------------------------------------------------------------------------------------------ the face

    def fit(self, dataset: Dataset) -> Self:
        """Learn from a data set; returns the system itself. Raises `DataError` if it has no images."""
        if not len(dataset):
            raise DataError(f"{dataset!r} has no images to learn from.")
        self.classes, self.parameters, self.trained_on = tuple(dataset.classes), {}, {}
        try:
            self._fit(dataset)
        except BaseException:
            self.classes, self.parameters = (), {}  # half learned is not learned: who uses it is told so
            raise
        self.trained_on = {
            "data": dataset.name,
            "split": dataset.split,
            "n_images": len(dataset),
            "digest": dataset.digest,
            "images": list(dataset.image_hashes),
        }
        return self

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the parameters, and in its header configuration, classes and origin as JSON."""
        self._check_learned("save(path)")
        write_bundle(path, self.parameters, self._info())

    @classmethod
    def load(cls, path: str | Path, **how: Any) -> Self:
        """The system that `save` wrote; ``how`` sets arguments such as ``device``, where the system has them.

        Raises `DataError` for a file that is missing, damaged, or holds another system.
        """
        parameters, info = read_detector_file(path)
        if info["system"] != cls.system:
            raise DataError(f"{path} holds a {info['system']}, not a {cls.system}; see load_detector().")
        learned = cls(**info["config"], **how)
        learned._take(parameters, info)
        return learned

    @classmethod
    def from_models(cls, paths: Sequence[str | Path]) -> Self:
        """A system made of models that others have trained; `CourseError` where the system knows no such files."""
        raise CourseError(f"{cls.system} knows no models of others, so there is no --model for it: train it.")

    def _check_learned(self, before: str = "using it") -> None:
        """Raise `CourseError` if there is nothing to use yet."""
        if not self.classes:
            raise CourseError(
                f"this {self.system} has learned nothing yet: call fit(dataset), or load(path), before {before}."
            )

    def _info(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "system": self.system,
            "config": self.config,
            "classes": list(self.classes),
            "trained_on": self.trained_on,
        }

    def _take(self, parameters: dict[str, Tensor], info: dict[str, Any]) -> None:
        self.parameters, self.classes, self.trained_on = parameters, tuple(info["classes"]), info["trained_on"]
        self._restored()


class Detector(Learned):
    """What all detectors have in common: a subclass implements `_detect`.

    Attributes
    ----------
    stages : Stages
        Seconds that `detect` spent in each of its stages since ``stages`` was last replaced.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.stages = Stages()

    @abstractmethod
    def _detect(self, image: np.ndarray) -> dict[str, Tensor]:
        """Detections of one image, in any order."""

    @overload
    def detect(self, images: np.ndarray) -> dict[str, Tensor]: ...

    @overload
    def detect(self, images: Sequence[np.ndarray]) -> list[dict[str, Tensor]]: ...

    def detect(self, images):
        """Find objects in one image, or in each of several.

        Parameters
        ----------
        images : ndarray, or list or tuple of ndarray
            uint8 ``(H, W, 3)``, RGB.

        Returns
        -------
        dict, or list of dict
            ``boxes`` float32 ``(N, 4)``, ``labels`` int64 ``(N,)``, ``scores`` float32 ``(N,)``, the highest score
            first; CPU tensors. Raises `DataError` for anything that is no such image, `CourseError` before `fit`.
        """
        self._check_learned("detect(images)")
        if isinstance(images, list | tuple):
            return [self.detect(image) for image in images]
        check_image(images, "detect()")
        found = self._detect(images)
        check_boxes(found["boxes"], f"{self.system}'s boxes")
        order = found["scores"].argsort(descending=True, stable=True)
        return {key: found[key][order].detach().cpu() for key in ("boxes", "labels", "scores")}


def check_image(image: Any, what: str) -> None:
    """Raise `DataError` unless it is a uint8 array ``(H, W, 3)``; ``what`` wants it."""
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"{what} wants an image as uint8 array (H, W, 3), or a list of them; got {type(image).__name__}. "
            "course_utils.images.read_image(path) reads a file."
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(f"{what} wants images as uint8 arrays (H, W, 3), RGB; got {image.dtype} {image.shape}.")


def read_detector_file(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Parameters and header of a file that `Learned.save` wrote; raises `DataError` for any other."""
    parameters, info = read_bundle(path)
    if info.get("format") != FORMAT:
        raise DataError(f"{path} is no detector's file (wanted one that `course train` or save(path) wrote).")
    return parameters, info


def name_and_digest(dataset: Dataset) -> str:
    """What a store's key says of a data set: the same pictures under another name are another origin."""
    return f"{dataset.name}/{dataset.split} {dataset.digest}"


def learning_key(learned: Learned, dataset: Dataset, part: str = "") -> str:
    """The store's key of what the system learns from the data set; ``part`` names one of several trainings in it."""
    config = {name: value for name, value in learned.config.items() if name != "seed"}
    config |= {"part of": part} if part else {}
    config |= {"starts from": learned.starts_from} if learned.starts_from else {}
    return key_of(code=(type(learned),), config=config, data=name_and_digest(dataset), seed=learned.seed)


def fit_or_recall(learned: L, dataset: Dataset, store: Store | None = None) -> L:
    """Fit the system, or take from the store what the same code learned before from the same data and seed."""

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        learned.fit(dataset)
        return learned.parameters, learned._info()

    if processes()[1] > 1:  # which train together; they would wait for each other's lock
        return learned.fit(dataset)
    learned._take(*(store or Store()).keep("parameters", learning_key(learned, dataset), make))
    return learned
