"""A whole HoG pyramid, scored: ours against OpenCV's ``detectMultiScale``, and growth with the picture's area.

    python benchmarks/hog.py            # about half a minute

Both look at the same windows of the same photograph (512 x 512 px, windows of 64 x 128 px, stride 8 px, levels 1.05
apart) with the same linear SVM, OpenCV's people detector, without suppression, on equal threads. Wanted: at most twice
OpenCV's time, and time in proportion to the area.
"""

import cv2
import numpy as np
import skimage.data
import torch
from torchvision.ops import box_iou

from course_utils import hog as ours
from course_utils.timing import Stages, limited_threads, measure

WINDOW, SIGMA = (128, 64), 4.0  # pixels: height and width; OpenCV's Gaussian


def opencv_detector() -> cv2.HOGDescriptor:
    """OpenCV's detector with the settings of `course_utils.hog`; all twelve, as their defaults differ by version."""
    detector = cv2.HOGDescriptor(WINDOW[::-1], (16, 16), (8, 8), (8, 8), 9, 1, SIGMA, 0, 0.2, False, 64, False)
    detector.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    return detector


def opencv_template() -> tuple[np.ndarray, float]:
    """Weights of OpenCV's people detector as a template ``(15, 7, 36)``, and the bias.

    OpenCV orders blocks, and the cells of a block, column by column.
    """
    weights = np.ravel(cv2.HOGDescriptor_getDefaultPeopleDetector()).astype(np.float32)
    template = weights[:-1].reshape(7, 15, 2, 2, 9).transpose(1, 0, 3, 2, 4).reshape(15, 7, 36)
    return template, float(weights[-1])


def detect_opencv(
    detector: cv2.HOGDescriptor, image: np.ndarray, threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes ``(N, 4)`` and scores ``(N,)`` above the threshold."""
    found, scores = detector.detectMultiScale(
        image, hitThreshold=threshold, winStride=(8, 8), padding=(0, 0), scale=1.05, groupThreshold=0
    )
    found = torch.as_tensor(np.reshape(found, (-1, 4)), dtype=torch.float32)
    return torch.cat((found[:, :2], found[:, :2] + found[:, 2:]), 1), torch.as_tensor(np.ravel(scores))


def detect_ours(
    template: np.ndarray, bias: float, image: np.ndarray, threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same with our pyramid."""
    boxes, scores = [], []
    for level in ours.pyramid(image, WINDOW, sigma=SIGMA):
        level_scores = ours.score(level.features, template) + bias
        rows, columns = np.nonzero(level_scores > threshold)
        boxes.append(ours.window_boxes(rows, columns, template.shape[:2], level.scale))
        scores.append(torch.from_numpy(level_scores[rows, columns]))
    return torch.cat(boxes), torch.cat(scores)


def compare_results(image: np.ndarray, detector: cv2.HOGDescriptor, template: np.ndarray, bias: float) -> None:
    """How many windows, how alike the scores of the best, and the best box of each."""
    their_boxes, their_scores = detect_opencv(detector, image, -1e9)
    boxes, scores = detect_ours(template, bias, image, -1e9)
    top = their_scores.topk(100).indices
    overlap, same = box_iou(their_boxes[top], boxes).max(1)
    apart = (their_scores[top] - scores[same]).abs()
    print(f"windows: OpenCV {len(their_boxes):,}, ours {len(boxes):,}")
    print(f"OpenCV's 100 best windows and our scores there: median difference {apart.median():.2f}, largest "
          f"{apart.max():.2f}, smallest IoU {overlap.min():.2f} (OpenCV resizes without a wider filter)")  # fmt: skip
    for name, b, s in (("OpenCV", their_boxes, their_scores), ("ours", boxes, scores)):
        best = s.argmax()
        print(f"  best of {name:6}  score {s[best]:.2f}  box {[round(v) for v in b[best].tolist()]}")


def stages(image: np.ndarray, template: np.ndarray) -> dict[str, float]:
    """Seconds of each stage of one pass over the pyramid, on one thread."""
    clock = Stages()
    profiles = ours.cell_profiles(SIGMA)
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    for size in ours.level_sizes(image.shape[:2], WINDOW, 1.05):
        with clock("resize"):
            level = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)[0]
        with clock("gradients"):
            magnitude, orientation = ours.gradients(level.permute(1, 2, 0).numpy())
        with clock("votes"):
            blocks = ours.block_histograms(magnitude, orientation, profiles)
        with clock("L2-Hys"):
            features = ours.l2_hys(blocks)
        with clock("scores"):
            ours.score(features, template)
    return clock.seconds


def main() -> None:
    """Print the comparison, the stages and the growth."""
    image = skimage.data.astronaut()
    detector, (template, bias) = opencv_detector(), opencv_template()
    compare_results(image, detector, template, bias)

    for threads in (1, 2):
        cv2.setNumThreads(threads)
        theirs = measure(lambda: detect_opencv(detector, image, 0.0), repeats=15, threads=threads)
        mine = measure(lambda: detect_ours(template, bias, image, 0.0), repeats=15, threads=threads)
        ratio = mine.median / theirs.median
        print(f"{threads} thread{'s' * (threads > 1)}: OpenCV {theirs}; ours {mine}; ratio {ratio:.2f} (wanted: 2)")

    with limited_threads(1):
        runs = [stages(image, template) for _ in range(7)]
    print("ms per stage, 1 thread: ", {stage: round(1e3 * min(run[stage] for run in runs), 1) for stage in runs[0]})

    for side in (256, 512, 1024):
        picture = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if side < 512 else cv2.INTER_LINEAR)
        window = (side // 4, side // 8)  # as many levels for each
        timing = measure(lambda picture=picture, window=window: ours.pyramid(picture, window), repeats=7)
        print(f"features of a pyramid of {side} x {side} px: {timing}; {1e9 * timing.median / side**2:.0f} ns per px")


if __name__ == "__main__":
    main()
