"""What the benchmarks that train on the labelled data sets share; nothing to run."""

import argparse
import os
import statistics
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def arguments(doc, cases):
    """Return a parser of the data sets, seeds, threads and `--quick`, for more options to be added."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "cases", nargs="*", metavar="data set", help=f"of {', '.join(cases)}; both by default"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="torch threads; by default what torch chooses")
    return parser


def parsed(parser, cases, **quick):
    """Return the options; with `--quick` those of `quick`."""
    parser.add_argument(
        "--quick",
        action="store_true",
        help=", ".join(
            f"{value} {name.rstrip('s') if value == 1 else name}" for name, value in quick.items()
        ),
    )
    options = parser.parse_args()
    unknown = sorted(set(options.cases) - set(cases))
    if unknown:
        parser.error(f"no such data set: {', '.join(unknown)}; there are {', '.join(cases)}")
    options.cases = options.cases or list(cases)
    if options.quick:
        vars(options).update(quick)
    return options


def data_folder(options):
    """Return the folder of the labelled data sets, or end; let torch have the threads that are asked for."""
    data = os.environ.get("SEGTRAIN_DATA")
    if not data:
        print("skipped: SEGTRAIN_DATA does not name the folder of the labelled data sets")
        sys.exit(0)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    return Path(data)


def spread(values):
    """Return mean and standard deviation as text; a single value as it is."""
    mean = statistics.fmean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def markdown(rows):
    """Return a table, of which the first row is the head."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])
