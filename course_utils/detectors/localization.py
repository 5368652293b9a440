"""Localization as regression: a pretrained classifier with a second head that says where; one box per picture."""

import hashlib
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_utils.datasets.base import Dataset
from course_utils.datasets.single import LargestObject
from course_utils.detectors.base import Detector, learning_key
from course_utils.detectors.trivial import MeanBox
from course_utils.errors import CourseError
from course_utils.localization.data import Examples, examples, proper, to_pixels
from course_utils.localization.heads import LOSSES, Localizer
from course_utils.localization.training import BATCH, CLIP, train_jointly, two_losses
from course_utils.networks import Backbone, open_backbone
from course_utils.networks.backbone import normalized, resized
from course_utils.training import check_device, minibatches, sgd, train, warm_cosine


class Localization(Detector):
    """The lecture's recipe: take a classifier, attach a regression head, train it, use both heads.

    It learns the largest object of each picture that is not difficult, and finds one object in any picture. The head
    of the classes is new as well, for the data set's classes are not those of the pretrained network.

    Parameters
    ----------
    backbone : str
        As for `open_backbone`: ``"standin"``, a file of another one, or a network of torchvision.
    weights : str, optional
        File with the backbone's parameters.
    random : bool
        Begin with a backbone that has never been trained.
    stage : str, optional
        Where the box head is attached; None: the last stage that is a map (of a vision transformer: its vector).
    hidden : int
        Units in the box head's hidden layer; 0: linear.
    specific : bool
        One box for each class, instead of one for all.
    loss : {"l2", "smooth_l1", "giou"}
        Of the boxes.
    joint : bool
        After the heads train everything, the backbone as well; all at once if that is random.
    epochs : int, optional
        Of all of it if ``joint``, else of the heads. None: 15 for all, 40 for the heads.
    rate, joint_rate : float
        The largest learning rates, of the heads and of all.
    guesses : int
        How many boxes `detect` gives: those of the most probable classes.
    device, seed, resume
        As everywhere; a killed joint training goes on from its last checkpoint.

    Source: lecture slides 8012-8017; Simonyan and Zisserman, ICLR 2015, appendix A, for trained localization networks.
    """

    system = "localization"

    def __init__(
        self,
        *,
        backbone: str = "standin",
        weights: str | None = None,
        random: bool = False,
        stage: str | None = None,
        hidden: int = 256,
        specific: bool = False,
        loss: str = "smooth_l1",
        joint: bool = False,
        epochs: int | None = None,
        rate: float = 0.01,
        joint_rate: float = 0.01,
        guesses: int = 1,
        device: str = "cpu",
        seed: int = 0,
        resume: bool = True,
    ) -> None:
        super().__init__(seed=seed)
        if loss not in LOSSES:
            raise CourseError(f"The losses of a box are {', '.join(LOSSES)}; got {loss!r}.")
        if guesses < 1 or hidden < 0 or min(rate, joint_rate) <= 0 or (epochs is not None and epochs < 1):
            raise CourseError(
                "Wanted guesses >= 1, hidden >= 0, rate and joint_rate > 0, and epochs >= 1; "
                f"got {guesses}, {hidden}, {rate}, {joint_rate} and {epochs}."
            )
        self.backbone, self.weights, self.random, self.stage = str(backbone), weights, random, stage
        self.hidden, self.specific, self.loss, self.joint = hidden, specific, loss, joint
        self.epochs, self.rate, self.joint_rate, self.guesses = epochs, rate, joint_rate, guesses
        self.device, self.resume = check_device(device), resume

    # ------------------------------------------------------------------------------------------------- learning

    @cached_property
    def starts_from(self) -> str:
        if self.random:
            return ""
        digest = hashlib.sha256()
        for value in self._backbone().state_dict().values():
            digest.update(value.numpy().tobytes())
        return digest.hexdigest()

    def _backbone(self) -> Backbone:
        return open_backbone(self.backbone, weights=self.weights, random=self.random, seed=self.seed)

    def _fit(self, dataset: Dataset) -> None:
        backbone = self._backbone()
        if not self.random:
            backbone.freeze_norm()
        self._build(backbone)
        mean = MeanBox().fit(LargestObject(dataset)).parameters
        data = examples(dataset, backbone.input_size)
        # heads that learned from a random network's untrained normalization would be lost as soon as that is measured
        if not (self.joint and self.random):
            self._train_heads(data)
        if self.joint:
            train_jointly(
                self.model, data, epochs=self.epochs or 15, loss=self.loss, rate=self.joint_rate, seed=self.seed,
                device=self.device, key=learning_key(self, dataset) if self.resume else None,
            )  # fmt: skip
        learned = {f"model.{name}": value.detach().cpu() for name, value in self.model.state_dict().items()}
        self.parameters = learned | {f"mean_box.{name}": value for name, value in mean.items()}

    def _build(self, backbone: Backbone) -> None:
        """The network with both heads, untrained."""
        maps = [stage.name for stage in backbone.stages if stage.stride]
        # a vision transformer's only map is made of raw patches, each seen by itself
        stage = self.stage or (maps[-1] if len(maps) > 1 else backbone.stages[-1].name)
        self.input_size = backbone.input_size
        with torch.random.fork_rng([]):
            torch.manual_seed(self.seed)
            self.model = Localizer(
                backbone, stage, len(self.classes), top=self._top(stage), hidden=self.hidden, specific=self.specific
            )
        self.model.to(self.device).eval()

    def _top(self, stage: str) -> str | None:
        """Where the head of the classes goes, if the box head is at ``stage``; None: the last stage."""
        return None

    def part(self, name: str) -> dict[str, Tensor]:
        """The parameters of one part: ``"model"``, or ``"mean_box"``, what `MeanBox` learned from the same boxes."""
        return {key.removeprefix(f"{name}."): value for key, value in self.parameters.items() if key.startswith(name)}

    def _train_heads(self, data: Examples) -> None:
        """Both heads on features that are computed once, of each picture and its mirror image."""
        turned = data.mirrored()
        sides = [self.model.features(each.pixels) for each in (data, turned)]
        at, top = (torch.cat(both) for both in zip(*sides))
        if not self.model.normalizes:
            self.model.scale.copy_(at.square().mean().sqrt())
        boxes, labels = torch.cat((data.boxes, turned.boxes)), torch.cat((data.labels, turned.labels))

        def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
            return ((at[i], top[i], boxes[i], labels[i]) for i in minibatches(len(boxes), 2 * BATCH, rng))

        train(
            self.model,
            batches,
            lambda model, batch: two_losses(model.heads(*batch[:2]), *batch[2:], self.loss),
            steps=math.ceil(len(boxes) / (2 * BATCH)),
            epochs=40 if self.joint else self.epochs or 40,
            optimizer=sgd(self.rate),
            schedule=warm_cosine,
            clip=CLIP,
            seed=self.seed,
            device=self.device,
            what="two heads",
        )

    # ---------------------------------------------------------------------------------------------------- using

    def _restored(self) -> None:
        name = "standin" if Path(self.backbone).suffix == ".safetensors" else self.backbone
        self._build(open_backbone(name, random=True))
        self.model.load_state_dict(self.part("model"))

    def _detect(self, image: np.ndarray) -> dict[str, Tensor]:
        with self.stages("network"), torch.no_grad():
            pixels = normalized(resized([image], self.input_size)).to(self.device)
            boxes, scores = (out[0].cpu() for out in self.model(pixels))
        best = scores.softmax(0).topk(min(self.guesses, len(scores)))
        labels = best.indices + 1
        boxes = boxes[best.indices] if self.specific else boxes.tile(len(labels), 1)
        return {
            "boxes": to_pixels(proper(boxes), torch.tensor(image.shape[:2])),
            "labels": labels,
            "scores": best.values,
        }
