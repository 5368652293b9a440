"""Deformable part models: FHOG against plain numpy, distance transforms against scipy, detection against both.

    python benchmarks/dpm.py            # about two minutes

Equal pictures and equal threads on both sides; the plain numpy version is the one that the tests compare with. Wanted:
FHOG of a colour photograph of 512 x 512 px in 0.05 s, a model of the size of the authors' person model on a photograph
of 500 x 375 px in 2 s on 2 threads, better 1 s, time in proportion to the area, and training in 90 s on 2 threads.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import grey_dilation

from course_utils.datasets import open_dataset
from course_utils.detectors.dpm import Dpm
from course_utils.distance_transform import REACH, bounded_distance_transform, distance_transform
from course_utils.dpm.inference import FORBIDDEN, bias_at, detect_mixtures, every_second, find_placements
from course_utils.dpm.model import Component, Mixture
from course_utils.fhog import FeatureLevel, feature_pyramid, fhog
from course_utils.photographs import photograph
from course_utils.timing import Stages, limited_threads, measure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from fhog_reference import plain_fhog

FHOG_WANTED, PYRAMID_WANTED, DETECTION_WANTED, TRAINING_WANTED = 0.05, 0.25, 1.0, 90.0  # seconds


def photograph_of(height: int, width: int) -> np.ndarray:
    """The astronaut at another size."""
    return cv2.resize(photograph("astronaut"), (width, height), interpolation=cv2.INTER_AREA)


def bench_fhog() -> None:
    """Features of one picture, on one thread: how alike, and how long."""
    image = photograph("astronaut")
    apart = np.abs(fhog(image) - plain_fhog(image)).max()
    theirs = measure(lambda: plain_fhog(image), repeats=3)
    mine = measure(lambda: fhog(image), repeats=15)
    print(f"FHOG of {image.shape[0]} x {image.shape[1]} px, 1 thread: numpy {theirs}; ours {mine} "
          f"(wanted: {1e3 * FHOG_WANTED:.0f} ms); ratio {mine.median / theirs.median:.3f}; "
          f"largest difference {apart:.0e}")  # fmt: skip


def bench_pyramid() -> None:
    """Features at all 43 sizes, padded; and growth with the area."""
    image = photograph_of(375, 500)
    for threads in (1, 2):
        mine = measure(lambda: feature_pyramid(image, pad=(11, 11)), repeats=7, threads=threads)
        print(f"feature pyramid of 500 x 375 px, 10 levels per octave, {threads} thread{'s' * (threads > 1)}: {mine} "
              f"(wanted on 2 threads: {1e3 * PYRAMID_WANTED:.0f} ms)")  # fmt: skip
    for side in (256, 512, 1024):
        image = photograph_of(side, side)
        timing = measure(lambda image=image, side=side: feature_pyramid(image, smallest=side // 64), repeats=5)
        print(f"  {side} x {side} px, 3 octaves of roots: {timing}; {1e9 * timing.median / side**2:.0f} ns per px")


def bench_distance_transforms() -> None:
    """The best place of a part around each anchor of a map of 80 x 100 cells, on one thread."""
    f, deformation = (
        np.random.default_rng(0).normal(size=(80, 100)).astype(np.float32),
        np.array([0.1, -0.2, 0.05, 0.03]),
    )
    dy, dx = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]
    cost = np.tensordot(deformation, np.stack([dx, dy, dx**2, dy**2]), 1).astype(np.float32)

    def dilation() -> np.ndarray:
        return grey_dilation(f, structure=-cost[::-1, ::-1], mode="constant", cval=-1e9)

    apart = np.abs(dilation() - bounded_distance_transform(f, deformation)[0]).max()
    theirs, mine, envelopes = (
        measure(fn, repeats=15)
        for fn in (
            dilation,
            lambda: bounded_distance_transform(f, deformation),
            lambda: distance_transform(f, deformation),
        )
    )
    print(f"distance transform of 80 x 100 cells, at most {REACH} away: scipy's dilation, without places, {theirs}; "
          f"ours, with places, {mine}; "
          f"ratio {mine.median / theirs.median:.2f}; largest difference {apart:.0e}")  # fmt: skip
    print(f"  any distance, by envelopes: {envelopes}")


def model_like_person() -> Mixture:
    """Three roots and their mirror images with eight parts of 6 x 6 cells each, as the authors' person model has them.

    The weights are random; the threshold lets a few hundred placements of a photograph through.
    """
    rng, components = np.random.default_rng(0), []
    for height, width in ((8, 7), (11, 6), (11, 4)):
        anchors = np.stack([rng.integers(0, 2 * side - 5, 8) for side in (width, height)], axis=1)
        root, parts = (0.01 * rng.normal(size=(*n, 32)) for n in ((height, width), (8, 6, 6)))
        springs = np.tile(np.array([0, 0, 0.02, 0.02], np.float32), (8, 1))
        one = Component(root.astype(np.float32), parts.astype(np.float32), anchors, springs)
        components += [one, one.mirrored()]
    return Mixture(tuple(components), 0.518, 10)


def plain_scores(mixture: Mixture, levels: list[FeatureLevel]) -> list[np.ndarray]:
    """Best score at each place of each level of roots: windows of numpy, dilations of scipy, one filter at a time."""
    dy, dx = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]

    def response(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
        windows = sliding_window_view(features, weights.shape[:2], axis=(0, 1))
        return np.einsum("rcdhw,hwd->rc", windows, weights, optimize=True)

    out = []
    for level in range(mixture.interval, len(levels)):
        fine, maps = levels[level - mixture.interval].features, []
        for one in mixture.components:
            scores = response(levels[level].features, one.root) + bias_at(one, mixture.interval, level)
            for part, (x, y), d in zip(one.parts, one.anchors, one.deformations):
                cost = d[0] * dx + d[1] * dy + d[2] * dx**2 + d[3] * dy**2
                best = grey_dilation(response(fine, part), structure=-cost[::-1, ::-1], mode="constant", cval=-1e9)
                start = y - mixture.padding[0], x - mixture.padding[1]
                scores += every_second(best.astype(np.float32), start, scores.shape)
            maps.append(scores)
        best = np.full(np.max([scores.shape for scores in maps], axis=0), FORBIDDEN)
        for scores in maps:
            view = best[: scores.shape[0], : scores.shape[1]]
            np.maximum(view, scores, out=view)
        out.append(best)
    return out


def bench_detection() -> None:
    """Six components with eight parts each on a photograph, and growth with the area."""
    mixture, image = model_like_person(), photograph_of(375, 500)
    levels = feature_pyramid(image, pad=mixture.padding)
    found = find_placements(mixture, levels, mixture.threshold)
    theirs = plain_scores(mixture, levels)
    apart = max(
        abs(theirs[level - mixture.interval][tuple(root)] - score)
        for level, root, score in zip(found.level, found.roots, found.scores)
    )
    plain = measure(lambda: plain_scores(mixture, levels), repeats=1, warmup=0)
    for threads in (1, 2):
        mine = measure(lambda: find_placements(mixture, levels, mixture.threshold), repeats=7, threads=threads)
        whole = measure(lambda: detect_mixtures({1: mixture}, image), repeats=7, threads=threads)
        print(f"6 components, 8 parts, 500 x 375 px, 10 levels per octave, {threads} thread{'s' * (threads > 1)}: "
              f"detection {whole} (wanted on 2 threads: {DETECTION_WANTED:.0f} s); placements {mine}, "
              f"{mine.median / plain.median:.3f} of numpy's {plain.median:.1f} s on 1 thread")  # fmt: skip
    print(f"  {len(found)} placements; largest difference of a score {apart:.0e}")
    stages = Stages()
    with limited_threads(2):
        detect_mixtures({1: mixture}, image, stages=stages)
    print("  seconds per stage, 2 threads:", {name: round(spent, 3) for name, spent in stages.seconds.items()})
    for height, width in ((188, 250), (375, 500), (750, 1000)):
        image = photograph_of(height, width)
        timing = measure(lambda image=image: detect_mixtures({1: mixture}, image), repeats=5)
        print(f"  {width} x {height} px: {timing}; {1e6 * timing.median / (width * height):.2f} µs per px")


def bench_training() -> None:
    """One class of ToyVOC's training part: a mirrored pair with eight parts, from boxes to box predictors."""
    dataset = open_dataset("toyvoc", "train")
    timing = measure(lambda: Dpm(aspects=1, only=["dog"], resume=False).fit(dataset), repeats=1, warmup=0, threads=2)
    print(f"training 2 components with 8 parts on {len(dataset)} pictures, 2 threads: {timing} "
          f"(wanted: {TRAINING_WANTED:.0f} s)")  # fmt: skip


def main() -> None:
    """Print all comparisons."""
    bench_fhog()
    bench_pyramid()
    bench_distance_transforms()
    bench_detection()
    bench_training()


if __name__ == "__main__":
    main()
