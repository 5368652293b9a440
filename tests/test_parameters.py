"""The parameters that ship: of the stated origin, usual configuration, and as good as said."""

import pytest
import torch
from torchvision.ops import box_iou

from course_utils.datasets import open_dataset
from course_utils.detectors import SYSTEMS, detector_class, load_detector
from course_utils.metrics import match
from course_utils.paths import repo_root
from course_utils.photographs import photograph

FILES = sorted((repo_root() / "data" / "parameters").glob("*.safetensors"))


def test_only_systems_ship():
    assert {path.stem for path in FILES} <= set(SYSTEMS) and FILES


# the stand-in's are tested with it: here its data would have to be drawn, which takes minutes
@pytest.mark.parametrize("path", [p for p in FILES if SYSTEMS[p.stem].data != "toynet"], ids=lambda path: path.stem)
def test_origin_and_configuration(path):
    detector = load_detector(path)
    assert detector.system == path.stem and detector.config == detector_class(path.stem)().config
    origin = detector.trained_on
    assert origin["data"] == SYSTEMS[path.stem].data and origin["split"] == "train"
    learned_from = open_dataset(origin["data"], origin["split"])
    assert list(learned_from.classes) == list(detector.classes)
    measured_on = open_dataset(origin["data"], "test")
    assert not set(origin["images"]) & set(measured_on.image_hashes)


def test_faces_finds_the_astronaut():
    found = load_detector(repo_root() / "data" / "parameters" / "faces.safetensors").detect(photograph("astronaut"))
    face = torch.tensor([[175.0, 70.0, 275.0, 185.0]])  # brow to chin, by hand
    assert box_iou(found["boxes"][:1], face).item() > 0.6
    assert found["scores"][0] > 2 * found["scores"][1]


def test_faces_on_real_photographs(shared):
    detector = load_detector(repo_root() / "data" / "parameters" / "faces.safetensors")
    found, targets = [], []
    for name in ("testing", "training"):
        data = open_dataset(shared / "data" / "dlib_faces" / f"{name}.xml")
        found += detector.detect([data.image(i) for i in range(len(data))])
        targets += [data.target(i) for i in range(len(data))]
    matches = match(found, targets, 1)
    assert matches.n_objects == 43
    assert matches.average_precision() > 0.7
