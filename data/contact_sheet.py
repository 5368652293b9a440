"""Draw contact_sheet.jpg, the picture at the head of the README: python data/contact_sheet.py"""

from pathlib import Path

from course_utils.datasets import open_dataset
from course_utils.plots import contact_sheet, use_course_style

SCENES = (1, 4, 15, 22)


def main() -> None:
    """Write the sheet beside this file: above what a detector sees, below what it should say."""
    use_course_style()
    toys = open_dataset("toyvoc", "train")
    images = [toys.image(i) for i in SCENES]
    told = [{k: toys.target(i)[k] for k in ("boxes", "labels", "joints")} for i in SCENES]
    nothing = [{"boxes": [], "labels": []}] * len(SCENES)
    fig = contact_sheet(images * 2, nothing + told, toys.classes, columns=len(SCENES))
    fig.savefig(Path(__file__).with_suffix(".jpg"), dpi=130, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    main()
