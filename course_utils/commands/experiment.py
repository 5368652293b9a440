"""``course experiment``: the long comparisons whose results ship with the course."""

import argparse

HELP = "Repeat one of the course's long experiments and write its result file."
EXAMPLE = "course experiment hog_svm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course experiment`` takes."""
    from course_utils.experiments import EXPERIMENTS

    known = "; ".join(f"{name} ({one.about}; {one.minutes} minutes)" for name, one in EXPERIMENTS.items())
    parser.add_argument("name", metavar="NAME", help=f"name of the experiment: {known}")


def main(args: argparse.Namespace) -> int:
    """Run it, write ``data/results/NAME.json``, print the table."""
    from course_utils.experiments import EXPERIMENTS, run, write_results
    from course_utils.results import ResultTable, Row

    if args.name in EXPERIMENTS:
        print(
            f"{EXPERIMENTS[args.name].about}: about {EXPERIMENTS[args.name].minutes} minutes on two cores", flush=True
        )
    rows = run(args.name)
    print(ResultTable(rows) if isinstance(rows[0], Row) else "\n\n".join(map(str, rows)))
    print(f"written: {write_results(args.name, rows)}")
    return 0
