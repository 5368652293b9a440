"""Exercises of notebook 07: histograms by pooling, a spring's gradient, a kernel of single ones."""

import numpy as np
import torch

from course_utils.notebook.exercises import Exercise, Mistake

NOTHING = "It returns None: is the return missing?"


def _check_histograms(histograms):
    generator = torch.Generator().manual_seed(0)
    direction = torch.randint(0, 18, (16, 24), generator=generator)
    magnitude = torch.rand(16, 24, generator=generator)
    wanted = torch.zeros(18, 2, 3)
    for y, x in np.ndindex(16, 24):
        wanted[direction[y, x], y // 8, x // 8] += magnitude[y, x]
    found = histograms(direction, magnitude)
    if found is None:
        return NOTHING
    if found.ndim != 3:
        return f"One picture, no batch: (18, H / 8, W / 8) has three dimensions; yours has {found.ndim}."
    found = torch.as_tensor(found)
    if tuple(found.shape) != (18, 2, 3):
        return (
            f"Pictures of 16 x 24 have 2 x 3 cells, so (18, 2, 3) is wanted; yours is {tuple(found.shape)}. "
            "one_hot puts the 18 last, pooling wants them first: permute."
        )
    if torch.allclose(found.float(), wanted / 64, atol=1e-5):
        return "That is the mean of a cell's 64 pixels. A histogram is their sum."
    counts = torch.stack([(direction == k).float() for k in range(18)]).unflatten(2, (3, 8)).unflatten(1, (2, 8))
    if torch.allclose(found.float(), counts.sum((2, 4)), atol=1e-4):
        return "You count pixels. Each should vote with its magnitude."
    if not torch.allclose(found.float(), wanted, atol=1e-4):
        return "The shape is right, the numbers are not: sum in each cell the magnitudes of the pixels of a direction."


def _check_spring_gradient(spring_gradient):
    for dx, dy in ((2, -1), (0, 3), (-4, -2)):
        found = spring_gradient(dx, dy)
        if found is None:
            return NOTHING
        found = np.asarray(found, float).squeeze()
        if found.shape != (4,):
            return f"Four weights, four numbers; yours has shape {found.shape}."
        wanted = -np.array([dx, dy, dx * dx, dy * dy], float)
        if np.allclose(found, -wanted):
            return "The sign: the cost is taken off, so a larger weight makes the value smaller where dx^2 > 0."
        if np.allclose(found, [-1, -1, -2 * dx, -2 * dy]) or np.allclose(found, -np.array([1, 1, 2 * dx, 2 * dy])):
            return "You differentiated by dx and dy. Differentiate by the weights: value = f - (w1 dx + w2 dy + ...)."
        if not np.allclose(found, wanted):
            return (
                f"For (dx, dy) = ({dx}, {dy}) the value is f - w1 * {dx} - w2 * {dy} - w3 * {dx * dx} - w4 * {dy * dy}."
            )


def _check_part_kernel(part_kernel):
    anchors = [(3, 0), (0, 2), (5, 1)]
    found = part_kernel(anchors, 6, 7)
    if found is None:
        return NOTHING
    if tuple(found.shape) != (1, 3, 6, 7):
        return f"Three parts, 6 rows, 7 columns: shape (1, 3, 6, 7); yours is {tuple(found.shape)}."
    if not torch.is_tensor(found) or found.dtype != torch.float32:
        return "conv2d wants the kernel as a float tensor, as torch.zeros makes it."
    if found.sum() != 3:
        return f"One single 1 for each part, 3 in all; yours sum to {found.sum().item():g}."
    if any(found[0, i].sum() != 1 for i in range(3)):
        return "Each part has a map of its own: its 1 belongs in its own channel."
    if any(found[0, i, y, x] != 1 for i, (x, y) in enumerate(anchors)):
        return "An anchor is (x, y); a map is indexed [row, column], so [y, x]."
    if found.count_nonzero() != 3:
        return "Everything but the 1s has to be 0."


def _check_pool_along_x(pool_along_x):
    rows = torch.tensor([[-5.0, -5.0, -5.0, -5.0, -5.0, -5.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.5]])
    found = pool_along_x(rows, 0.1)
    if found is None:
        return NOTHING
    if found.shape != rows.shape:
        return f"The map keeps its shape, {tuple(rows.shape)}; yours is {tuple(found.shape)}."
    if not torch.allclose(found[1], torch.tensor([1.0, 0.9, 0.6, 0.1, 0.4, 0.5])):
        return "Within the map it was right, and now it is not: 1 at the left end makes .9, .6, .1 of its neighbours."
    if not torch.allclose(found[0], rows[0]):
        return f"Where all is -5 nothing beats -5; you give {found[0, 0]:.1f} there: what stands beyond the map?"
    rng = torch.Generator().manual_seed(0)
    rows = 1e4 * torch.randn(3, 9, generator=rng) - 1e5
    wanted = torch.stack(
        [(rows - 2.0 * (torch.arange(9) - q) ** 2)[:, max(q - 4, 0) : q + 5].max(1).values for q in range(9)], 1
    )
    lowest = torch.full((1, 9), -1e30)
    if not (torch.allclose(pool_along_x(rows, 2.0), wanted) and torch.allclose(pool_along_x(lowest, 2.0), lowest)):
        return "Right for small numbers only. Beyond the map nothing may win, whatever the scores are: minus infinity."


EXERCISES = (
    Exercise(
        "07.histograms",
        "The histograms of all cells of 8 x 8 px, (18, H / 8, W / 8), by one_hot and avg_pool2d. "
        "direction (H, W) is 0 to 17; each pixel votes with its magnitude (H, W).",
        stub="""
             def histograms(direction, magnitude):
                 raise NotImplementedError
             """,
        solution="""
             def histograms(direction, magnitude):
                 votes = one_hot(direction, 18).permute(2, 0, 1) * magnitude  # (18, H, W)
                 return 64 * avg_pool2d(votes, 8)
             """,
        check=_check_histograms,
        setup="from torch.nn.functional import avg_pool2d, one_hot",
        mistakes=(
            Mistake(
                "def histograms(direction, magnitude):\n"
                "    return avg_pool2d(one_hot(direction, 18).permute(2, 0, 1) * magnitude, 8)",
                "A histogram is their sum",
            ),
            Mistake(
                "def histograms(direction, magnitude):\n"
                "    return 64 * avg_pool2d(one_hot(direction, 18).permute(2, 0, 1).float(), 8)",
                "You count pixels",
            ),
            Mistake(
                "def histograms(direction, magnitude):\n"
                "    return 64 * avg_pool2d(one_hot(direction, 18) * magnitude[..., None], 8)",
                "permute",
            ),
            Mistake(
                "def histograms(direction, magnitude):\n"
                "    from torch.nn.functional import max_pool2d\n"
                "    return max_pool2d(one_hot(direction, 18).permute(2, 0, 1) * magnitude, 8)",
                "the numbers are not",
            ),
        ),
    ),
    Exercise(
        "07.spring_gradient",
        "A part won (dx, dy) away from its anchor. By how much does its pooled value change with each of the four "
        "weights (of dx, dy, dx^2, dy^2)? Give the four derivatives.",
        stub="""
             def spring_gradient(dx, dy):
                 raise NotImplementedError
             """,
        solution="""
             def spring_gradient(dx, dy):
                 return [-dx, -dy, -(dx**2), -(dy**2)]
             """,
        check=_check_spring_gradient,
        mistakes=(
            Mistake("def spring_gradient(dx, dy):\n    return [dx, dy, dx**2, dy**2]", "The sign"),
            Mistake("def spring_gradient(dx, dy):\n    return [-1, -1, -2 * dx, -2 * dy]", "by the weights"),
            Mistake("def spring_gradient(dx, dy):\n    return [-(dx**2), -(dy**2), -dx, -dy]", "the value is f"),
            Mistake("def spring_gradient(dx, dy):\n    return [-(dx**2), -(dy**2)]", "Four weights"),
        ),
    ),
    Exercise(
        "07.part_kernel",
        "The kernel (1, n, height, width) of the object geometry: zeros, and for each part a single 1 at its anchor "
        "(x, y). anchors is a list of n pairs, counted from the kernel's top left corner.",
        stub="""
             def part_kernel(anchors, height, width):
                 raise NotImplementedError
             """,
        solution="""
             def part_kernel(anchors, height, width):
                 kernel = torch.zeros(1, len(anchors), height, width)
                 for i, (x, y) in enumerate(anchors):
                     kernel[0, i, y, x] = 1
                 return kernel
             """,
        check=_check_part_kernel,
        setup="import torch",
        mistakes=(
            Mistake(
                "def part_kernel(anchors, height, width):\n"
                "    kernel = torch.zeros(1, len(anchors), height, width)\n"
                "    for i, (x, y) in enumerate(anchors):\n        kernel[0, i, x, y] = 1\n    return kernel",
                "[row, column]",
            ),
            Mistake(
                "def part_kernel(anchors, height, width):\n"
                "    kernel = torch.zeros(1, len(anchors), height, width)\n"
                "    for x, y in anchors:\n        kernel[0, :, y, x] = 1\n    return kernel",
                "One single 1 for each part",
            ),
            Mistake(
                "def part_kernel(anchors, height, width):\n"
                "    kernel = torch.zeros(1, len(anchors), height, width)\n"
                "    for x, y in anchors:\n        kernel[0, 0, y, x] = 1\n    return kernel",
                "in its own channel",
            ),
        ),
    ),
    Exercise(
        "07.pool_along_x",
        "Pooling on a spring, along x only, of a map (rows, columns). In the middle of the map it is right; near the "
        "border it sometimes is not. Repair it.",
        stub="""
             def pool_along_x(responses, stiffness):
                 step = torch.arange(-4, 5)
                 wide = pad(responses, (4, 4))
                 return (wide.unfold(1, 9, 1) - stiffness * step**2).amax(2)
             """,
        solution="""
             def pool_along_x(responses, stiffness):
                 step = torch.arange(-4, 5)
                 wide = pad(responses, (4, 4), value=-torch.inf)  # nobody stands beyond the map
                 return (wide.unfold(1, 9, 1) - stiffness * step**2).amax(2)
             """,
        check=_check_pool_along_x,
        setup="import torch\nfrom torch.nn.functional import pad",
        kind="find-the-bug",
        mistakes=(
            Mistake(
                "def pool_along_x(responses, stiffness):\n    step = torch.arange(-4, 5)\n"
                "    wide = pad(responses, (4, 4), value=-torch.inf)\n"
                "    return (wide.unfold(1, 9, 1) + stiffness * step**2).amax(2)",
                "Within the map it was right",
            ),
            Mistake(
                "def pool_along_x(responses, stiffness):\n    step = torch.arange(-4, 5)\n"
                "    wide = pad(responses, (4, 4), value=-1.0)\n"
                "    return (wide.unfold(1, 9, 1) - stiffness * step**2).amax(2)",
                "what stands beyond",
            ),
            Mistake(
                "def pool_along_x(responses, stiffness):\n    step = torch.arange(-4, 5)\n"
                "    wide = pad(responses, (4, 4), value=-1e9)\n"
                "    return (wide.unfold(1, 9, 1) - stiffness * step**2).amax(2)",
                "minus infinity",
            ),
        ),
    ),
)
