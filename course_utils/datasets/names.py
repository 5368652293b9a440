"""Class names in four vocabularies, and the one function that maps between them.

ImageNet's thousand classes are much finer: its counterpart of "dog" is 118 breeds. The table lists, for every
class of PASCAL VOC and ToyVOC, COCO's name and the numbers of the ImageNet classes (ILSVRC 2012 order, as in
torchvision) that are kinds of it. Which classes count as kinds of a boat, a car or a potted plant is our
judgement; wild relatives (wolf, lynx, zebra, bison) are left out. ImageNet has no class for people as such:
it knows a ball player, a groom and a scuba diver, and "person" has no counterpart.
"""

from functools import lru_cache

from course_utils.datasets.toyvoc import CLASSES as TOYVOC_CLASSES
from course_utils.datasets.voc import VOC_CLASSES
from course_utils.errors import DataError

# VOC name: (COCO name, ImageNet numbers)
_VOC = {
    "aeroplane": ("airplane", (404, 895)),
    "bicycle": ("bicycle", (444, 671)),
    "bird": ("bird", (*range(7, 25), *range(80, 101), *range(127, 147))),
    "boat": ("boat", (472, 484, 510, 554, 576, 625, 628, 780, 814, 871, 914)),
    "bottle": ("bottle", (440, 720, 737, 898, 907)),
    "bus": ("bus", (654, 779, 874)),
    "car": ("car", (407, 436, 468, 511, 609, 627, 656, 661, 751, 817)),
    "cat": ("cat", tuple(range(281, 286))),
    "chair": ("chair", (423, 559, 765, 857)),
    "cow": ("cow", (345,)),
    "diningtable": ("dining table", (532,)),
    "dog": ("dog", tuple(range(151, 269))),
    "horse": ("horse", (339,)),
    "motorbike": ("motorcycle", (665, 670)),
    "person": ("person", ()),
    "pottedplant": ("potted plant", (738,)),
    "sheep": ("sheep", (348, 349)),
    "sofa": ("couch", (831,)),
    "train": ("train", (466, 547, 820)),
    "tvmonitor": ("tv", (664, 782, 851)),
}
# ToyVOC names that are not VOC's: (VOC name of the wider class, ImageNet numbers); mergansers are ducks
_TOY = {"duck": ("bird", (97, 98)), "goose": ("bird", (99,))}


@lru_cache
def vocabulary(name: str) -> tuple[str, ...]:
    """All class names of "toyvoc", "voc", "coco" (80, without torchvision's gaps) or "imagenet" (1000)."""
    if name == "toyvoc":
        return TOYVOC_CLASSES
    if name == "voc":
        return VOC_CLASSES
    if name == "coco":
        from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

        categories = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
        return tuple(category for category in categories if category not in ("__background__", "N/A"))
    if name == "imagenet":
        from torchvision.models import SqueezeNet1_0_Weights

        return tuple(SqueezeNet1_0_Weights.IMAGENET1K_V1.meta["categories"])
    raise DataError(f"There is no vocabulary {name!r}; known are toyvoc, voc, coco and imagenet.")


def map_class(name: str, source: str, target: str) -> tuple[str, ...]:
    """Names in the vocabulary ``target`` that stand for the class ``name`` of the vocabulary ``source``.

    Several where the target is finer (VOC bird -> ToyVOC duck, goose), one where it is as coarse or coarser,
    none where there is no counterpart (person -> ImageNet). Raises `DataError` for a name that is not in the
    source, and between COCO and ImageNet for a class outside VOC and ToyVOC, which the table does not cover.

    >>> map_class("duck", "toyvoc", "imagenet")
    ('drake', 'red-breasted merganser')
    """
    names = vocabulary(target)  # first, so that a misspelt vocabulary is told before anything else
    if name not in vocabulary(source):
        raise DataError(f"The vocabulary {source!r} has no class {name!r}; its names are case-sensitive.")
    if source == target:
        return (name,)
    wanted = [forms for forms in _concepts() if name in forms[source]]
    if not wanted and {source, target} == {"coco", "imagenet"}:
        raise DataError(f"No counterpart of {source} {name!r} is written down; only VOC's and ToyVOC's classes are.")
    found = {form for forms in wanted for form in forms[target]}
    return tuple(form for form in names if form in found)


@lru_cache
def _concepts() -> tuple[dict[str, tuple[str, ...]], ...]:
    """One dictionary per class of VOC and per class that only ToyVOC has: its names in the four vocabularies."""
    rows = [(voc, voc if voc in TOYVOC_CLASSES else None, numbers) for voc, (_, numbers) in _VOC.items()]
    rows += [(voc, toy, numbers) for toy, (voc, numbers) in _TOY.items()]
    return tuple(
        {
            "toyvoc": (toy,) if toy else (),
            "voc": (voc,),
            "coco": (_VOC[voc][0],),
            "imagenet": tuple(vocabulary("imagenet")[number] for number in numbers),
        }
        for voc, toy, numbers in rows
    )
