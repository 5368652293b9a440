"""Exercises of notebook 06: what a window sees, FC layers as kernels, offsets interleaved, boxes of a pyramid."""

import math

import numpy as np
import torch

from course_utils.notebook.exercises import Exercise, Mistake, quiz

NOTHING = "It returns None: is the return missing?"


def _check_window_and_stride(window_and_stride):
    for layers, wanted in (
        ([(3, 1)], (3, 1)),
        ([(5, 2), (3, 2), (5, 1)], (5 + 4 + 16, 4)),
        ([(7, 2), (3, 3), (7, 1), (2, 2)], (7 + 4 + 36 + 6, 12)),
    ):
        found = window_and_stride(layers)
        if found is None:
            return NOTHING
        window, stride = found
        if stride == sum(s for _, s in layers) != wanted[1]:
            return f"Strides multiply, they do not add: {layers} goes on by {wanted[1]} px."
        if stride != wanted[1]:
            return f"For {layers} the stride is {wanted[1]}, the product; yours is {stride}."
        if window == 1 + sum(k - 1 for k, _ in layers) != wanted[0]:
            return "A cell of a later map is more than a pixel: k - 1 cells are k - 1 times the stride up to there."
        with_own = 1 + sum((k - 1) * math.prod(s for _, s in layers[: i + 1]) for i, (k, _) in enumerate(layers))
        if window == with_own != wanted[0]:
            return "A layer's own stride does not widen what it sees: multiply by the strides before it only."
        if window != wanted[0]:
            return f"For {layers} the window is {wanted[0]} px; yours is {window}. A single (3, 1) sees 3 px."


def _check_fc_kernel(fc_kernel):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 5 * 9, generator=generator, dtype=torch.float64)
    window = torch.randn(1, 5, 3, 3, generator=generator, dtype=torch.float64)
    kernel = fc_kernel(weight, 5, 3)
    if kernel is None:
        return NOTHING
    if tuple(kernel.shape) != (4, 5, 3, 3):
        return f"conv2d wants a kernel (outputs, channels, rows, columns): (4, 5, 3, 3), not {tuple(kernel.shape)}."
    right = weight.view(4, 5, 3, 3)
    if torch.equal(kernel, right.transpose(2, 3)):
        return "Rows and columns are exchanged: pictures turned on their diagonal would score as the old ones did."
    if not torch.equal(kernel, right):
        return (
            "The shape is right, the order is not. Flatten puts channel 0 first, row by row, then channel 1: "
            f"the score of a window is {(weight @ window.flatten())[0]:.2f}, with your kernel "
            f"{(kernel[0] * window[0]).sum():.2f}."
        )


def _check_interleaved(interleaved):
    maps = [[torch.full((1, 1, 2, 3), 10.0 * dy + dx) for dx in range(3)] for dy in range(3)]
    found = interleaved(maps, 3)
    if found is None:
        return NOTHING
    if tuple(found.shape) != (1, 1, 6, 9):
        return f"Nine maps of 2 x 3 make one of 6 x 9, (1, 1, 6, 9); yours is {tuple(found.shape)}."
    corner = found[0, 0, :3, :3]
    wanted = torch.tensor([[0.0, 1, 2], [10, 11, 12], [20, 21, 22]])
    if torch.equal(corner, wanted.T):
        return "dx and dy are exchanged: maps[dy][dx] begins dy cells further down."
    if (found[0, 0, :2, :3] == found[0, 0, 0, 0]).all():
        return "You laid the maps side by side. Neighbours in the fine map come from different offsets: use steps of 3."
    if not torch.equal(found[0, 0], wanted.repeat(2, 3)):
        return "Output i of offset dy belongs in row 3 * i + dy, output j of offset dx in column 3 * j + dx."
    generator = torch.Generator().manual_seed(0)
    maps = [[torch.randn(2, 4, 3, 5, generator=generator) for _ in range(2)] for _ in range(2)]
    found = interleaved(maps, 2)
    if tuple(found.shape) != (2, 4, 6, 10):
        return f"Four maps (2, 4, 3, 5) with size 2 make (2, 4, 6, 10); yours is {tuple(found.shape)}."
    if not all(torch.equal(found[:, :, dy::2, dx::2], maps[dy][dx]) for dy in range(2) for dx in range(2)):
        return (
            "With one picture and one class it was right. With more of them, or with maps that are not constant, "
            "a number is in the wrong place."
        )


def _check_boxes_of_level(boxes_of_level):
    edges = torch.tensor([[0.0, 0, 1, 1], [0.25, 0.5, 0.75, 1]])
    for scale in (1.0, 0.5, 2.0):
        found = boxes_of_level(torch.tensor([0, 3]), torch.tensor([0, 5]), edges, scale)
        if found is None:
            return NOTHING
        x, y = 5 * 8, 3 * 8
        wanted = torch.tensor([[0.0, 0, 91, 91], [x + 0.25 * 91, y + 0.5 * 91, x + 0.75 * 91, y + 91]]) / scale
        if scale == 1.0 and not torch.allclose(found, wanted, atol=1e-3):
            return "At scale 1 it was right, and now it is not."
        if torch.allclose(found, wanted * scale**2, atol=1e-3) and scale != 1:
            return "Which way? A window of 91 px on a picture of half the size covers 182 px of the picture itself."
        if not torch.allclose(found, wanted, atol=1e-3):
            return (
                f"At scale {scale:g} the window in row 3, column 5 begins at ({x / scale:g}, {y / scale:g}) of the "
                f"picture and is {91 / scale:g} px wide; your second box is {np.round(found[1].tolist(), 1).tolist()}, "
                f"wanted is {np.round(wanted[1].tolist(), 1).tolist()}."
            )


EXERCISES = (
    quiz(
        "06.pixels",
        "Four windows of 221 px in a picture of 257 px: how many times the picture's pixels do they have together? "
        "(two decimals)",
        right=2.96,
        because="4 * 221**2 / 257**2 = 2.96.",
        wrong={
            4: "Four times a window. How large is a window against the picture?",
            3.44: "That is 4 * 221 / 257: a picture has height and width.",
        },
        tolerance=0.01,
    ),
    Exercise(
        "06.window_and_stride",
        "What one output of a network sees, and how far it is to the next, in pixels: (window, stride). layers is a "
        "list of (kernel, stride), first layer first; nothing is padded.",
        stub="""
             def window_and_stride(layers):
                 raise NotImplementedError
             """,
        solution="""
             def window_and_stride(layers):
                 window, step = 1, 1
                 for kernel, stride in layers:
                     window += (kernel - 1) * step
                     step *= stride
                 return window, step
             """,
        check=_check_window_and_stride,
        mistakes=(
            Mistake(
                "def window_and_stride(layers):\n"
                "    window = 1 + sum(k - 1 for k, _ in layers)\n"
                "    step = 1\n"
                "    for _, s in layers:\n"
                "        step *= s\n"
                "    return window, step",
                "more than a pixel",
            ),
            Mistake(
                "def window_and_stride(layers):\n"
                "    window, step = 1, 1\n"
                "    for kernel, stride in layers:\n"
                "        step *= stride\n"
                "        window += (kernel - 1) * step\n"
                "    return window, step",
                "own stride does not widen",
            ),
            Mistake(
                "def window_and_stride(layers):\n"
                "    window, step = 1, 0\n"
                "    for kernel, stride in layers:\n"
                "        window += (kernel - 1) * max(step, 1)\n"
                "        step += stride\n"
                "    return window, step",
                "Strides multiply",
            ),
            Mistake(
                "def window_and_stride(layers):\n"
                "    window, step = 0, 1\n"
                "    for kernel, stride in layers:\n"
                "        window += kernel * step\n"
                "        step *= stride\n"
                "    return window, step",
                "the window is",
            ),
        ),
    ),
    Exercise(
        "06.fc_kernel",
        "The weights (outputs, channels * side * side) of a fully connected layer behind Flatten, as the kernel of a "
        "convolution (outputs, channels, side, side).",
        stub="""
             def fc_kernel(weight, channels, side):
                 raise NotImplementedError
             """,
        solution="""
             def fc_kernel(weight, channels, side):
                 return weight.view(-1, channels, side, side)
             """,
        check=_check_fc_kernel,
        mistakes=(
            Mistake(
                "def fc_kernel(weight, channels, side):\n"
                "    return weight.view(-1, side, side, channels).permute(0, 3, 1, 2)",
                "the order is not",
            ),
            Mistake(
                "def fc_kernel(weight, channels, side):\n"
                "    return weight.view(-1, channels, side, side).transpose(2, 3)",
                "Rows and columns are exchanged",
            ),
            Mistake(
                "def fc_kernel(weight, channels, side):\n    return weight.view(-1, channels * side * side, 1, 1)",
                "conv2d wants a kernel",
            ),
        ),
    ),
    Exercise(
        "06.interleaved",
        "One map out of size * size: maps[dy][dx] is (N, K, rows, columns), all of one shape, made with the pooling "
        "moved by dy rows and dx columns. Let the windows stand in the order of their places.",
        stub="""
             def interleaved(maps, size):
                 raise NotImplementedError
             """,
        solution="""
             def interleaved(maps, size):
                 n, k, rows, columns = maps[0][0].shape
                 whole = torch.empty(n, k, size * rows, size * columns)
                 for dy in range(size):
                     for dx in range(size):
                         whole[:, :, dy::size, dx::size] = maps[dy][dx]
                 return whole
             """,
        check=_check_interleaved,
        setup="import torch",
        mistakes=(
            Mistake(
                "def interleaved(maps, size):\n    return torch.cat([torch.cat(row, 3) for row in maps], 2)",
                "side by side",
            ),
            Mistake(
                "def interleaved(maps, size):\n"
                "    n, k, rows, columns = maps[0][0].shape\n"
                "    whole = torch.empty(n, k, size * rows, size * columns)\n"
                "    for dy in range(size):\n"
                "        for dx in range(size):\n"
                "            whole[:, :, dx::size, dy::size] = maps[dy][dx]\n"
                "    return whole",
                "dx and dy are exchanged",
            ),
            Mistake(
                "def interleaved(maps, size):\n    return torch.stack([torch.stack(row) for row in maps])",
                "Nine maps of 2 x 3",
            ),
            Mistake(
                "def interleaved(maps, size):\n"
                "    n, k, rows, columns = maps[0][0].shape\n"
                "    whole = torch.empty(n, k, size * rows, size * columns)\n"
                "    for dy in range(size):\n"
                "        for dx in range(size):\n"
                "            whole[:, :, size - 1 - dy :: size, dx::size] = maps[dy][dx]\n"
                "    return whole",
                "belongs in row",
            ),
            Mistake(
                "def interleaved(maps, size):\n"
                "    n, k, rows, columns = maps[0][0].shape\n"
                "    whole = torch.empty(n, k, size * rows, size * columns)\n"
                "    for dy in range(size):\n"
                "        for dx in range(size):\n"
                "            whole[:, :, dy::size, dx::size] = maps[dy][dx].flip(2, 3)\n"
                "    return whole",
                "not constant",
            ),
            Mistake(
                "def interleaved(maps, size):\n"
                "    n, k, rows, columns = maps[0][0].shape\n"
                "    whole = torch.empty(n, k, 3 * rows, 3 * columns)\n"
                "    for dy in range(size):\n"
                "        for dx in range(size):\n"
                "            whole[:, :, dy::3, dx::3] = maps[dy][dx]\n"
                "    return whole",
                "Four maps (2, 4, 3, 5) with size 2",
            ),
        ),
    ),
    Exercise(
        "06.boxes_of_level",
        "Windows of 91 px, 8 px apart, on a level of a pyramid that is scale times as large as the picture (.5: half "
        "as large); edges (N, 4) in window sides. The function should give boxes in pixels of the picture. At scale 1 "
        "they fit, at no other.",
        stub="""
             def boxes_of_level(rows, columns, edges, scale):
                 corners = torch.stack([8 * columns, 8 * rows], 1).repeat(1, 2)
                 return corners + 91 * edges / scale
             """,
        solution="""
             def boxes_of_level(rows, columns, edges, scale):
                 corners = torch.stack([8 * columns, 8 * rows], 1).repeat(1, 2)
                 return (corners + 91 * edges) / scale
             """,
        check=_check_boxes_of_level,
        kind="find-the-bug",
        setup="import torch",
        mistakes=(
            Mistake(
                "def boxes_of_level(rows, columns, edges, scale):\n"
                "    corners = torch.stack([8 * columns, 8 * rows], 1).repeat(1, 2)\n"
                "    return (corners + 91 * edges) * scale",
                "Which way?",
            ),
            Mistake(
                "def boxes_of_level(rows, columns, edges, scale):\n"
                "    corners = torch.stack([8 * rows, 8 * columns], 1).repeat(1, 2)\n"
                "    return (corners + 91 * edges) / scale",
                "now it is not",
            ),
            Mistake(
                "def boxes_of_level(rows, columns, edges, scale):\n"
                "    corners = torch.stack([8 * columns, 8 * rows], 1).repeat(1, 2)\n"
                "    return corners / scale + 91 * edges",
                "your second box is",
            ),
        ),
    ),
)
