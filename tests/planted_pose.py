"""Mistakes planted in the frames, crops, cascade and measures of pose."""

from planted import Mutation

TABLE = [
    Mutation(
        "the frame begins at the top left corner",
        "pose/geometry.py",
        "return points * size + centre",
        "return points * size + boxes[..., :2]",
        "test_pose.py::test_there_and_back",
    ),
    Mutation(
        "a mirror leaves right and left where they are",
        "pose/geometry.py",
        "points[..., MIRROR, :] * points",
        "points * points",
        "test_pose.py::test_mirror_exchanges_right_and_left_by_name"
        " test_pose.py::test_the_first_stage_learns_from_joints_that_stand_where_it_is_told",
    ),
    Mutation(
        "crops half a pixel aside",
        "pose/geometry.py",
        "size, aligned=True)",
        "size, aligned=False)",
        "test_pose.py::test_a_crop_at_its_own_size_is_the_part_of_the_picture",
    ),
    Mutation(
        "large boxes are sampled, not averaged",
        "pose/geometry.py",
        "size, aligned=True)",
        "size, sampling_ratio=1, aligned=True)",
        "test_pose.py::test_a_large_box_is_averaged",
    ),
    Mutation(
        "the torso may have no length",
        "pose/geometry.py",
        "(sigma * diameter(joints)).clamp(min=smallest)",
        "(sigma * diameter(joints)).clamp(min=0 * smallest)",
        "test_pose.py::test_squares_about_joints",
    ),
    Mutation(
        "every joint takes the first joint's answer",
        "pose/cascade.py",
        ".diagonal(dim1=1, dim2=2).mT",
        "[:, :, 0]",
        "test_pose.py::test_each_joint_takes_its_own_answer_in_its_own_sides",
    ),
    Mutation(
        "refinements are crops of the first joint",
        "pose/cascade.py",
        "x = crops(picture, boxes.flatten(0, 1), JOINT_CROP)",
        "x = crops(picture, boxes[:, :1].expand(-1, 14, -1).flatten(0, 1), JOINT_CROP)",
        "test_pose.py::test_each_joint_is_looked_at_in_its_own_crop",
    ),
    Mutation(
        "absent joints count as errors",
        "pose/cascade.py",
        "own = [errors[known[:, i], i] for i in range(len(JOINTS))]",
        "own = [errors[:, i] for i in range(len(JOINTS))]",
        "test_pose.py::test_gaussians_of_known_errors",
    ),
    Mutation(
        "dx and dy err independently",
        "pose/cascade.py",
        "(factor @ noise[..., None])[..., 0]",
        "factor.diagonal(dim1=1, dim2=2) * noise",
        "test_pose.py::test_simulated_errors_have_the_gaussian_s_moments_in_sides",
    ),
    Mutation(
        "mirrored crops keep the name of their joint",
        "pose/cascade.py",
        "torch.where(turned, exchanged[joint], joint), y",
        "joint, y",
        "test_pose.py::test_a_further_stage_learns_from_crops_around_what_might_have_been_found",
    ),
    Mutation(
        "unknown joints are learned too",
        "pose/cascade.py",
        "((network(x) - y).square().sum(2) * known).sum(1).mean()",
        "(network(x) - y).square().sum(2).sum(1).mean()",
        "test_pose.py::test_losses_by_hand",
    ),
    Mutation(
        "absent joints pull the mean pose",
        "pose/cascade.py",
        "return (joints * known).sum(0) / known.sum(0).clamp(min=1)",
        "return joints.mean(0)",
        "test_pose.py::test_the_first_stage_begins_with_the_mean_pose",
    ),
    Mutation(
        "one end is enough for a limb",
        "pose/measures.py",
        "(off[:, first] <= threshold * length) & (",
        "(off[:, first] <= threshold * length) | (",
        "test_pose.py::test_pcp_equals_a_loop",
    ),
    Mutation(
        "a torso of absent joints measures others",
        "pose/measures.py",
        "(joints[..., 2] == 0) | torso.isnan()[:, None]",
        "(joints[..., 2] == 0)",
        "test_pose.py::test_pck_equals_a_loop",
    ),
    Mutation(
        "limbs are drawn, not persons",
        "pose/measures.py",
        "values = hits.double().numpy().reshape(len(hits), -1)",
        "values = hits.double().numpy().reshape(-1, 1)",
        "test_pose.py::test_what_belongs_to_a_person_is_drawn_together",
    ),
    Mutation(
        "a gain is turned round",
        "pose/evaluation.py",
        "shares(hits(found, joints) - hits(before, joints))",
        "shares(hits(before, joints) - hits(found, joints))",
        "test_pose.py::test_what_is_gained_is_the_difference_and_its_interval_is_paired",
    ),
]
