"""DeepPose: a network that regresses all joints from a crop of the person, and a cascade that refines each of them.

Toshev and Szegedy, "DeepPose: Human Pose Estimation via Deep Neural Networks", CVPR 2014. Differences: small networks
on small crops, whose convolutions may come from the course's stand-in; errors are measured in sides of a crop.
"""

import hashlib
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.datasets.base import Dataset
from course_utils.detectors.base import Learned, check_image, learning_key
from course_utils.errors import DataError
from course_utils.joints import JOINTS
from course_utils.networks import open_backbone
from course_utils.networks.backbone import normalized
from course_utils.pose.geometry import MIRROR, crops, denormalize, grown, joint_boxes, joint_sides, mirrored, normalize
from course_utils.pose.people import People
from course_utils.training import check_device, minibatches, train, warm_cosine

PERSON_CROP, JOINT_CROP = 64, 48  # pixels per side of what a network sees: of the person, of one joint
MARGIN = 1.2  # the first crop is the person's box, so many times as wide and high
SMALLEST = 0.15  # of the longer side of the person's box: no crop of a joint is smaller
HIDDEN = 128
RATE = 0.002


class DeepPose(Learned):
    """Finds the 14 joints of a person whose box is known.

    Parameters
    ----------
    stages : int
        1 for the holistic regression alone; each further one refines every joint.
    pretrained : bool
        Whether the convolutions begin as the stand-in's, or random.
    sigma : float
        Side of the crop about a joint, in torso diagonals.
    epochs, refinement_epochs : int
        Of the first stage, and of each further one.
    seed : int
    device : str
        Where to compute, such as "cpu" or "cuda".
    resume : bool
        Whether stages, and checkpoints in them, are kept in the store; what is learned is the same.
    """

    system = "pose"

    def __init__(
        self,
        *,
        stages: int = 3,
        pretrained: bool = True,
        sigma: float = 2.0,
        epochs: int = 60,
        refinement_epochs: int = 10,
        seed: int = 0,
        device: str = "cpu",
        resume: bool = True,
    ) -> None:
        super().__init__(seed=seed)
        if min(stages, epochs, refinement_epochs) < 1 or sigma <= 0:
            raise DataError(
                "pose wants stages, epochs and refinement_epochs >= 1, sigma > 0; "
                f"got {stages}, {epochs}, {refinement_epochs} and {sigma}."
            )
        self.stages, self.pretrained, self.sigma = stages, pretrained, sigma
        self.epochs, self.refinement_epochs, self.resume = epochs, refinement_epochs, resume
        self.device = check_device(device)
        self.networks: list[nn.Sequential] = []

    # ------------------------------------------------------------------------------------------------- training

    def _fit(self, dataset: Dataset) -> None:
        people = People.of(dataset)
        self.networks = []
        for stage in range(1, self.stages + 1):
            network = pose_network(PERSON_CROP if stage == 1 else JOINT_CROP, self.pretrained, [self.seed, stage])
            if stage == 1:
                begin_with(network, mean_pose(people))
                batches, steps = holistic_batches(people)
                epochs = self.epochs
            else:
                found = self._on_all(people)
                sides = self._sides(found, people.boxes)
                gaussians = fitted_gaussians((found - people.joints[..., :2]) / sides[:, None, None], people.joints)
                batches, steps = refinement_batches(people, sides, *gaussians)
                epochs = self.refinement_epochs
                for name, value in zip(("mean", "factor"), gaussians):
                    self.parameters[f"stage{stage}.errors.{name}"] = value
            train(
                network,
                batches,
                holistic_loss if stage == 1 else refinement_loss,
                steps=steps,
                epochs=epochs,
                optimizer=adam,
                schedule=warm_cosine,
                seed=self.seed,
                device=self.device,
                key=learning_key(self, dataset, f"stage {stage} from {_digest(network)}") if self.resume else None,
                what=f"pose, stage {stage}",
            )
            for name, value in network.state_dict().items():
                # half the bytes; the next stage learns from what these very numbers find
                value = value.half() if value.ndim > 1 else value
                self.parameters[f"stage{stage}.{name}"] = value.detach().cpu().clone()
            self._restored()

    def _on_all(self, people: People) -> Tensor:
        """Joints ``(N, 14, 2)`` of all of them, by the stages there are."""
        return torch.cat([self._trace(p, box[None])[-1] for p, box in zip(people.pictures, people.boxes)])

    def _sides(self, found: Tensor, boxes: Tensor) -> Tensor:
        return joint_sides(found, self.sigma, SMALLEST * (boxes[:, 2:] - boxes[:, :2]).amax(1))

    def _restored(self) -> None:
        self.networks = []
        for stage in range(1, self.stages + 1):
            start = f"stage{stage}."
            own = {name.removeprefix(start): v for name, v in self.parameters.items() if name.startswith(start)}
            own = {name: v.float() if v.is_floating_point() else v for name, v in own.items() if "errors." not in name}
            if own:
                network = pose_network(PERSON_CROP if stage == 1 else JOINT_CROP, pretrained=False, seed=[0])
                network.load_state_dict(own)
                self.networks.append(network.to(self.device).eval())

    # ------------------------------------------------------------------------------------------------------ use

    def locate(self, image: np.ndarray, boxes: Tensor) -> Tensor:
        """The joints of the persons in the boxes.

        Parameters
        ----------
        image : ndarray
            uint8 ``(H, W, 3)``, RGB.
        boxes : Tensor
            ``(N, 4)``; they may reach beyond the image, but have a width and height.

        Returns
        -------
        Tensor
            float32 ``(N, 14, 2)``: x, y in pixels of the image, in the order of `course_utils.joints.JOINTS`. Raises
            `DataError` for anything that is no such image or box, `CourseError` before `fit`.
        """
        return self.trace(image, boxes)[-1]

    def trace(self, image: np.ndarray, boxes: Tensor) -> Tensor:
        """As `locate`, but what every stage found: ``(n_stages, N, 14, 2)``."""
        self._check_learned()
        check_image(image, "locate()")
        boxes = torch.as_tensor(boxes, dtype=torch.float32)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not (boxes[:, 2:] > boxes[:, :2]).all() or not _finite(boxes):
            raise DataError(
                f"locate() wants boxes (N, 4) as x1 y1 x2 y2 with x2 > x1 and y2 > y1; got {tuple(boxes.shape)}: "
                f"{boxes.flatten()[:8].tolist()}."
            )
        return self._trace(image, boxes)

    @torch.inference_mode()
    def _trace(self, image: np.ndarray, boxes: Tensor) -> Tensor:
        picture = normalized_picture(image)
        first = grown(boxes, MARGIN)
        found = []
        for network in self.networks:
            if not found:
                x = crops(picture, first, PERSON_CROP)
                found.append(denormalize(network(x.to(self.device)).cpu(), first[:, None]))
            else:
                found.append(refined(network, picture, found[-1], self._sides(found[-1], boxes)))
        return torch.stack(found).clone()


def refined(network: nn.Module, picture: Tensor, joints: Tensor, sides: Tensor) -> Tensor:
    """One step of the cascade: look closely at each joint and correct it.

    Parameters
    ----------
    network : Module
        From crops ``(K, 3, size, size)`` to displacements of all joints ``(K, 14, 2)``, in sides of the crop.
    picture : Tensor
        ``(3, H, W)``, normalized.
    joints : Tensor
        ``(N, 14, 2)``: what the stage before found, pixels.
    sides : Tensor
        ``(N,)``: of each person's crops, pixels.

    Returns
    -------
    Tensor
        ``(N, 14, 2)``.
    """
    boxes = joint_boxes(joints, sides)  # (N, 14, 4)
    x = crops(picture, boxes.flatten(0, 1), JOINT_CROP)  # (14 N, 3, 48, 48)
    answers = network(x.to(next(network.parameters()).device)).cpu()  # (14 N, 14, 2): each crop speaks of all joints
    own = answers.unflatten(0, joints.shape[:2]).diagonal(dim1=1, dim2=2).mT  # (N, 14, 2): of its own only
    return denormalize(own, boxes)


def pose_network(size: int, pretrained: bool, seed: list[int]) -> nn.Sequential:
    """The stand-in's convolutions and two fully connected layers: ``(N, 3, size, size)`` to ``(N, 14, 2)``.

    All of it learns; torch's own random numbers are not touched.
    """
    number = int(np.random.default_rng(seed).integers(2**31))
    trunk = open_backbone("standin", random=not pretrained, seed=number).layers(None, "conv5").requires_grad_(True)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(number)
        values = trunk(torch.zeros(1, 3, size, size)).numel()
        last = nn.Linear(HIDDEN, 2 * len(JOINTS))
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)  # a stage that has not learned yet leaves every joint where it is
        hidden = (nn.Linear(values, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Dropout(0.3))
        return nn.Sequential(trunk, nn.Flatten(), *hidden, last, nn.Unflatten(1, (len(JOINTS), 2)))


def normalized_picture(image: np.ndarray) -> Tensor:
    """uint8 ``(H, W, 3)`` as float32 ``(3, H, W)`` with mean colour 0."""
    return normalized(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None])[0].contiguous()


def mean_pose(people: People) -> Tensor:
    """The best pose without looking: the mean of the known joints ``(14, 2)``, in the frame of the first crop."""
    joints, known = normalize(people.joints[..., :2], grown(people.boxes, MARGIN)[:, None]), people.joints[..., 2:] > 0
    return (joints * known).sum(0) / known.sum(0).clamp(min=1)


def begin_with(network: nn.Sequential, pose: Tensor) -> None:
    """Let an untrained network of `pose_network` answer about ``pose`` ``(14, 2)``, whatever it sees."""
    with torch.no_grad():
        network[-2].bias.copy_(pose.flatten())


def person_crops(people: People, boxes: Tensor) -> Tensor:
    """What the first stage sees of persons in boxes ``(N, 4)``: ``(N, 3, 64, 64)``."""
    return torch.cat([crops(normalized_picture(p), b[None], PERSON_CROP) for p, b in zip(people.pictures, boxes)])


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of all stages."""
    return torch.optim.AdamW(parameters, RATE)


Batches = tuple[Callable[[np.random.Generator], Iterator], int]


def holistic_batches(people: People, size: int = 32) -> Batches:
    """What the first stage learns from, and how many batches an epoch has.

    A batch: crops ``(B, 3, 64, 64)``, joints in the frame of the crop ``(B, 14, 2)``, whether they are known
    ``(B, 14)``. Boxes vary a little, half of the crops are mirrored, colours vary.
    """

    def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for index in minibatches(len(people), size, rng):
            some = people[torch.from_numpy(index)]
            boxes = grown(moved(some.boxes, rng), MARGIN)
            x = person_crops(some, boxes)
            y, known = normalize(some.joints[..., :2], boxes[:, None]), some.joints[..., 2] > 0
            turned = torch.from_numpy(rng.random(len(x)) < 0.5)
            x = torch.where(turned[:, None, None, None], x.flip(3), x)
            y = torch.where(turned[:, None, None], mirrored(y), y)
            known = torch.where(turned[:, None], known[:, MIRROR], known)
            yield other_colours(x, rng), y, known

    return batches, math.ceil(len(people) / size)


def holistic_loss(network: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Squared distance, summed over the known joints, mean over the persons."""
    x, y, known = batch
    return ((network(x) - y).square().sum(2) * known).sum(1).mean()


def fitted_gaussians(errors: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """For each joint the Gaussian of a stage's errors.

    Parameters
    ----------
    errors : Tensor
        ``(N, 14, 2)``: found minus true.
    joints : Tensor
        ``(N, 14, 3)``: joints that are absent do not count.

    Returns
    -------
    Tensor, Tensor
        Means ``(14, 2)``, and the lower triangles ``(14, 2, 2)`` of which each covariance is L L^T. Raises `DataError`
        if a joint is known of fewer than three persons.
    """
    known = joints[..., 2] > 0
    if (known.sum(0) < 3).any():
        name = JOINTS[int(known.sum(0).argmin())]
        raise DataError(f"Fewer than 3 persons have a known {name}; a cascade needs more, or take stages=1.")
    own = [errors[known[:, i], i] for i in range(len(JOINTS))]
    covariances = torch.stack([torch.cov(e.T) for e in own])
    return torch.stack([e.mean(0) for e in own]), torch.linalg.cholesky(covariances + 1e-6 * torch.eye(2))


def simulated(joints: Tensor, sides: Tensor, mean: Tensor, factor: Tensor, noise: Tensor) -> Tensor:
    """Where the stage before might have found the joints: the truth, and an error from each joint's Gaussian.

    Parameters
    ----------
    joints : Tensor
        ``(N, 14, 2)``, the truth, pixels.
    sides : Tensor
        ``(N,)``: pixels per unit of the errors.
    mean, factor : Tensor
        ``(14, 2)`` and ``(14, 2, 2)`` of `fitted_gaussians`.
    noise : Tensor
        ``(N, 14, 2)``, standard normal.

    Returns
    -------
    Tensor
        ``(N, 14, 2)``.
    """
    errors = mean + (factor @ noise[..., None])[..., 0]  # (N, 14, 2), in sides
    return joints + sides[:, None, None] * errors


def refinement_batches(people: People, sides: Tensor, mean: Tensor, factor: Tensor, size: int = 16) -> Batches:
    """What a further stage learns from, and how many batches an epoch has; new errors are drawn each time.

    A batch, of the known joints of ``size`` persons: crops ``(K, 3, 48, 48)``, which joint each is about ``(K,)``, and
    where it truly stands in the frame of the crop ``(K, 2)``. Half of the persons are mirrored, colours vary.
    """
    exchanged = torch.tensor(MIRROR)

    def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for index in minibatches(len(people), size, rng):
            numbers = torch.from_numpy(index)
            some = people[numbers]
            true, known = some.joints[..., :2], some.joints[..., 2] > 0
            noise = torch.from_numpy(rng.standard_normal(true.shape).astype(np.float32))
            boxes = joint_boxes(simulated(true, sides[numbers], mean, factor, noise), sides[numbers])  # (B, 14, 4)
            y, joint = normalize(true, boxes)[known], known.nonzero()[:, 1]
            x = torch.cat([crops(normalized_picture(p), b[k], JOINT_CROP) for p, b, k in
                           zip(some.pictures, boxes, known)])  # fmt: skip
            turned = torch.from_numpy(rng.random(len(some)) < 0.5)[known.nonzero()[:, 0]]
            x = torch.where(turned[:, None, None, None], x.flip(3), x)
            y = torch.where(turned[:, None], y * torch.tensor([-1.0, 1.0]), y)
            yield other_colours(x, rng), torch.where(turned, exchanged[joint], joint), y

    return batches, math.ceil(len(people) / size)


def refinement_loss(network: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Squared distance of the crop's own joint, mean over the crops; other outputs get no gradient."""
    x, joint, y = batch
    own = network(x)[torch.arange(len(x), device=x.device), joint]  # (K, 2)
    return (own - y).square().sum(1).mean()


def moved(boxes: Tensor, rng: np.random.Generator) -> Tensor:
    """Boxes ``(N, 4)`` as somebody else might have drawn them: 5 % aside, 10 % larger or smaller."""
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    noise = torch.from_numpy(rng.standard_normal((2, len(boxes), 2)).astype(np.float32))
    centre, half = centre + 0.05 * noise[0] * size, size * (0.1 * noise[1]).exp() / 2
    return torch.cat([centre - half, centre + half], 1)


def other_colours(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Crops ``(N, 3, H, W)`` with other contrast and brightness per channel."""
    noise = torch.from_numpy(rng.standard_normal((2, len(x), 3, 1, 1)).astype(np.float32))
    x = x * (0.1 * noise[0]).exp() + 0.1 * noise[1]
    return x.contiguous(memory_format=torch.channels_last)  # convolutions are a third faster so


def _finite(x: Tensor) -> bool:
    return bool(torch.isfinite(x).all())


def _digest(network: nn.Module) -> str:
    """Of the initial values, which decide what is learned."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
