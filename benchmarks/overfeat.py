"""OverFeat: all windows at once against crop by crop, on the paper's network with random weights.

    python benchmarks/overfeat.py       # about four minutes on two threads, 3 GB of memory

The largest scale of the paper, 461 x 569 px: 70 windows of 221 px. Both sides run the same network in the same process
with equal threads; crops go through it one at a time and eight at a time. Beside the ratio of seconds stand the ratio
of pixels, which promises 13, and that of operations: the former fully connected layers share nothing. Peak memory is
that of a process of its own for each side.
"""

import argparse
import resource
import subprocess
import sys

import torch

from course_utils.overfeat.dense import PAPER_STRIDE, PAPER_WINDOW, crops, flops, paper_network, pixel_ratio, to_conv
from course_utils.timing import limited_threads, measure

HEIGHT, WIDTH = 461, 569
SIDES = ("nothing", "dense", "crops")


@torch.inference_mode()
def compare(threads: int, thinner: int) -> None:
    """Print seconds and ratios."""
    network = paper_network(thinner=thinner).eval()
    dense, picture = to_conv(network, PAPER_WINDOW), torch.rand(3, HEIGHT, WIDTH)
    windows = crops(picture, PAPER_WINDOW, PAPER_STRIDE).flatten(0, 1)
    at_once = measure(lambda: dense(picture[None]), repeats=3, threads=threads)
    one = measure(lambda: [network(window[None]) for window in windows], repeats=1, warmup=0, threads=threads)
    eight = measure(lambda: [network(some) for some in windows.split(8)], repeats=1, warmup=0, threads=threads)
    operations = flops(dense, 1, 3, HEIGHT, WIDTH)
    cropped = len(windows) * flops(network, 1, 3, PAPER_WINDOW, PAPER_WINDOW)
    print(f"{HEIGHT} x {WIDTH} px, {len(windows)} windows, {threads} thread{'s' * (threads > 1)}, widths / {thinner}: "
          f"dense {at_once}; crops {one.median:.1f} s one at a time, {eight.median:.1f} s eight at a time")  # fmt: skip
    print(f"  crops / dense: seconds {one.median / at_once.median:.1f} "
          f"({eight.median / at_once.median:.1f} in eights), operations {cropped / operations:.1f}, "
          f"pixels {pixel_ratio(HEIGHT, WIDTH, PAPER_WINDOW, PAPER_STRIDE):.1f}")  # fmt: skip
    print(f"  {operations / 1e9 / at_once.median:.0f} and {cropped / 1e9 / one.median:.0f} billion operations a second")


@torch.inference_mode()
def peak_of(side: str, threads: int, thinner: int) -> None:
    """Print the peak memory of this process, in MB, after one side's work; one window stands for all crops."""
    with limited_threads(threads):
        network = paper_network(thinner=thinner).eval()
        if side == "dense":
            to_conv(network, PAPER_WINDOW)(torch.rand(1, 3, HEIGHT, WIDTH))
        elif side == "crops":
            network(torch.rand(1, 3, PAPER_WINDOW, PAPER_WINDOW))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def main() -> None:
    """Print the comparison, then peak memory of each side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--thinner", type=int, default=1, help="divide the paper's widths, for a quick look")
    parser.add_argument("--peak", choices=SIDES, help="only the peak memory of one side")
    args = parser.parse_args()
    if args.peak:
        peak_of(args.peak, args.threads, args.thinner)
        return
    own = [sys.executable, __file__, "--threads", str(args.threads), "--thinner", str(args.thinner), "--peak"]
    runs = {side: subprocess.run([*own, side], capture_output=True, text=True, check=True) for side in SIDES}
    compare(args.threads, args.thinner)
    print("  peak memory: " + ", ".join(f"{side} {int(run.stdout)} MB" for side, run in runs.items()))


if __name__ == "__main__":
    main()
