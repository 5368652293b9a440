"""Mistakes in the features, transforms and models of deformable parts."""

from planted import Mutation

TABLE = [
    # -------------------------------------------------------------------------------------- fhog, distance transform
    Mutation(
        "parabolas cross at half the place",
        "distance_transform.py",
        "(at_zero[before] - at_zero[p]) / (2 * quadratic * (p - before))",
        "(at_zero[before] - at_zero[p]) / (4 * quadratic * (p - before))",
        "test_distance_transform.py::test_envelope_equals_all_pairs"
        " test_distance_transform.py::test_envelope_follows_a_hill_and_leaves_it_for_a_higher_one",
    ),
    Mutation(
        "the envelope's linear cost with the other sign",
        "distance_transform.py",
        "values[q] = f[p] - linear * (p - q)",
        "values[q] = f[p] + linear * (p - q)",
        "test_distance_transform.py::test_envelope_by_hand test_distance_transform.py::test_envelope_equals_all_pairs",
    ),
    Mutation(
        "hidden parabolas stay on the stack",
        "distance_transform.py",
        "if last == 0 or crossing > starts[last]:",
        "if True:",
        "test_distance_transform.py::test_envelope_equals_all_pairs",
    ),
    Mutation(
        "the bounded transform's linear cost with the other sign",
        "distance_transform.py",
        "linear * d + quadratic * d * d",
        "quadratic * d * d - linear * d",
        "test_distance_transform.py::test_bounded_envelope_equals_all_pairs"
        " test_distance_transform.py::test_equal_scipy_s_dilation_with_the_structure_reversed",
    ),
    Mutation(
        "weights of dx and dy exchanged",
        "distance_transform.py",
        "bounded_envelope(np.ascontiguousarray(f[:, x]), dy, dy2, reach)",
        "bounded_envelope(np.ascontiguousarray(f[:, x]), dx, dy2, reach)",
        "test_distance_transform.py::test_equals_unfolded_windows_of_torch",
    ),
    Mutation(
        "rows are looked up at the anchor's column",
        "distance_transform.py",
        "bounded_envelope(halfway[y], dx, dx2, reach)\n        rows[y] = halfway_rows[y][columns[y]]",
        "bounded_envelope(halfway[y], dx, dx2, reach)\n        rows[y] = halfway_rows[y]",
        "test_distance_transform.py::test_both_equal_all_pairs_and_their_tables_lead_to_the_values"
        " test_distance_transform.py::test_equals_unfolded_windows_of_torch",
    ),
    Mutation(
        "parts may go one cell less far to the right",
        "distance_transform.py",
        "for d in range(-reach, reach + 1):",
        "for d in range(-reach, reach):",
        "test_distance_transform.py::test_hardly_any_cost_is_a_maximum_filter",
    ),
    Mutation(
        "springs without curvature pass the check",
        "distance_transform.py",
        "(deformation[2:] <= 0)",
        "(deformation[2:] < 0)",
        "test_distance_transform.py::test_wrong_input_is_refused",
    ),
    Mutation(
        "the mirror leaves the energies where they are",
        "fhog.py",
        "[29, 30, 27, 28, 31]",
        "[27, 28, 29, 30, 31]",
        "test_fhog.py::test_flip_is_the_table_of_release_5"
        " test_fhog.py::test_the_mirrored_picture_has_the_mirrored_features",
    ),
    Mutation(
        "the mirror turns directions upside down too",
        "fhog.py",
        "[(9 - o) % 18 for o in range(18)]",
        "[-o % 18 for o in range(18)]",
        "test_fhog.py::test_flip_is_the_table_of_release_5"
        " test_fhog.py::test_the_mirrored_picture_has_the_mirrored_features",
    ),
    Mutation(
        "the features are not clipped",
        "fhog.py",
        "entry = min(signed[o] * factor, clip)",
        "entry = signed[o] * factor",
        "test_fhog.py::test_bounds_and_sums test_fhog.py::test_photographs_equal_the_description",
    ),
    Mutation(
        "normalizers above and below exchanged",
        "fhog.py",
        "factors[row + 1 - k % 2, column + 1 - k // 2]",
        "factors[row + k % 2, column + 1 - k // 2]",
        "test_fhog.py::test_photographs_equal_the_description",
    ),
    Mutation(
        "opposite directions are the same",
        "fhog.py",
        "best, most = o + 9, -along",
        "best, most = o, -along",
        "test_fhog.py::test_a_slope_votes_for_its_own_direction",
    ),
    Mutation(
        "the last channel counts, not the strongest",
        "fhog.py",
        "if a * a + b * b > longest:",
        "if True:",
        "test_fhog.py::test_the_channel_with_the_longest_gradient_counts",
    ),
    Mutation(
        "votes half a pixel aside",
        "fhog.py",
        "column = (x + 0.5) / cell + 0.5",
        "column = x / cell + 0.5",
        "test_fhog.py::test_noise_of_any_size_equals_the_description"
        " test_fhog.py::test_the_mirrored_picture_has_the_mirrored_features",
    ),
    Mutation(
        "the padding forgets the lost border",
        "fhog.py",
        "(pad[0] + 1, pad[1] + 1)",
        "(pad[0], pad[1])",
        "test_fhog.py::test_an_edge_is_at_the_same_pixel_in_all_levels"
        " test_fhog.py::test_padding_is_nothing_but_truncation",
    ),
    Mutation(
        "the padding looks like a black region",
        "fhog.py",
        "out[:, :, TRUNCATION] = 1",
        "out[:, :, TRUNCATION] = 0",
        "test_fhog.py::test_padding_is_nothing_but_truncation",
    ),
    Mutation(
        "parts are as coarse as roots",
        "fhog.py",
        "cells = (CELL // 2, CELL) if i < interval",
        "cells = (CELL, CELL) if i < interval",
        "test_fhog.py::test_levels_are_the_features_of_the_scaled_picture"
        " test_fhog.py::test_parts_are_found_where_their_root_is",
    ),
    Mutation(
        "one root level too few",
        "fhog.py",
        "roots = 1 + math.floor(",
        "roots = math.floor(",
        "test_fhog.py::test_number_of_levels",
    ),
    Mutation(
        "width and height of a cell exchanged",
        "fhog.py",
        "(c * width / w, c * height / h)",
        "(c * height / h, c * width / w)",
        "test_fhog.py::test_levels_are_the_features_of_the_scaled_picture",
    ),
    Mutation(
        "scaling takes whole pixels only",
        "fhog.py",
        "np.maximum(covered, 0) / step",
        "(covered > 0.5) / step",
        "test_fhog.py::test_scaling_takes_the_mean_of_areas",
    ),
]
