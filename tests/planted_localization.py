"""Mistakes in localization as regression."""

from planted import Mutation

TABLE = [
    Mutation(
        "the smallest object instead of the largest",
        "datasets/single.py",
        "return int(area.argmax())",
        "return int(area.argmin())",
        "test_localization.py::test_the_largest_object_that_is_not_difficult",
    ),
    Mutation(
        "difficult objects count",
        "datasets/single.py",
        'box_area(target["boxes"]).masked_fill(target["difficult"], -1)',
        'box_area(target["boxes"])',
        "test_localization.py::test_the_largest_object_that_is_not_difficult",
    ),
    Mutation(
        "a close-up's box stays where it was in the whole picture",
        "datasets/single.py",
        'kept["boxes"] - torch.tensor([x, y, x, y])',
        'kept["boxes"]',
        "test_localization.py::test_closeups_hold_their_object_whole",
    ),
    Mutation(
        "x by the height, y by the width",
        "localization/data.py",
        "return boxes / sizes.flip(-1).tile(2)",
        "return boxes / sizes.tile(2)",
        "test_localization.py::test_unit_coordinates_by_hand_and_back",
    ),
    Mutation(
        "boxes may end outside of the picture",
        "localization/data.py",
        "corners.amax(-2).clamp(max=1)",
        "corners.amax(-2)",
        "test_localization.py::test_proper_boxes_have_area_and_stay_inside",
    ),
    Mutation(
        "mirrored boxes are inside out",
        "localization/data.py",
        "torch.stack((1 - x2, y1, 1 - x1, y2), -1)",
        "torch.stack((1 - x1, y1, 1 - x2, y2), -1)",
        "test_localization.py::test_mirrored_examples",
    ),
    Mutation(
        "pictures are mirrored, their boxes are not",
        "localization/data.py",
        "torch.where(turned[:, None], mirrored_boxes(inside), inside)",
        "inside",
        "test_localization.py::test_varied_pictures_carry_their_boxes_along",
    ),
    Mutation(
        "the box of the next class",
        "localization/heads.py",
        "boxes[torch.arange(len(boxes)), labels - 1]",
        "boxes[torch.arange(len(boxes)), labels % boxes.shape[1]]",
        "test_localization.py::test_the_box_of_a_class_and_who_gets_a_gradient",
    ),
    Mutation(
        "IoU loss of boxes that are inside out",
        "localization/heads.py",
        "torch.cat((corners.amin(1), corners.amax(1)), 1)",
        "boxes",
        "test_localization.py::test_losses_by_hand",
    ),
    Mutation(
        "frozen normalization is trained",
        "localization/heads.py",
        "self._backbone[0].train(mode)",
        "pass",
        "test_localization.py::test_frozen_normalization_stays_frozen_under_the_heads",
    ),
    Mutation(
        "the first guess's box instead of the true class's",
        "localization/judging.py",
        'found["boxes"][found["labels"] == target["labels"]]',
        'found["boxes"][:1]',
        "test_localization.py::test_class_box_both_and_five_by_hand",
    ),
    Mutation(
        "every guess with the box of the first class",
        "detectors/localization.py",
        "boxes = boxes[best.indices] if self.specific",
        "boxes = boxes[0 * best.indices] if self.specific",
        "test_localization_system.py::test_guesses_are_the_likeliest_classes_each_with_its_own_box",
    ),
    Mutation(
        "a result from the store whatever backbone it began with",
        "detectors/localization.py",
        "        return digest.hexdigest()",
        '        return "backbone"',
        "test_localization_system.py::test_another_backbone_is_another_key",
    ),
]
