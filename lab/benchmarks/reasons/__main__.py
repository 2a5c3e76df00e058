"""Are the reasons that SAFE gives reasons? Failure rates of RCCs and weak spots, against rivals and against chance.

    python -m lab.benchmarks.reasons --data NAME=DIR ... [--model NAME=FILE ...] --work DIR [--write]

A case is a folder with `test/` and a DNN: a case study of `lab.casestudies.build`, whose causes are known, or
photographs. Every result is kept in the work folder: an interrupted run resumes from there, and a result is measured
again when something it depends on has changed. With --write, a section of lab/results/reasons.md is written;
`measures.py` has the definitions.
"""

import argparse
import os
import sys
from pathlib import Path

from lab.benchmarks.kept import named_paths
from lab.benchmarks.reasons.cases import load_reasons_case
from lab.benchmarks.reasons.measuring import measure_case
from lab.benchmarks.reasons.report import reasons_section
from lab.benchmarks.results import tell
from safe_dnn.cli.terminal import terminal_progress
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder

SHUFFLES = 20


@terminal_progress()
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.reasons", description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR", required=True, help="folders of the cases")
    parser.add_argument("--model", nargs="+", metavar="NAME=FILE", default=[], help="DNNs; default: model.keras in DIR")
    parser.add_argument("--work", metavar="DIR", required=True, help="folder for results")
    parser.add_argument("--write", action="store_true", help="write lab/results/reasons.md instead of printing")
    parser.add_argument("--further", action="store_true", help="a section of its own, beside that of other cases")
    parser.add_argument("--shuffles", type=int, default=SHUFFLES, metavar="N", help=f"default: {SHUFFLES}")
    parser.add_argument("--precision", metavar="NAME", default="float32", help="default: float32")
    parser.add_argument("--sliceline", type=Path, metavar="PYTHON", help="a Python with the package sliceline")
    parser.add_argument("--pysubgroup", type=Path, metavar="PYTHON", help="a Python with the package pysubgroup")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    pythons = {"SliceLine": options.sliceline, "pysubgroup": options.pysubgroup}
    rivals = {name: python for name, python in pythons.items() if python}
    try:
        models, work = named_paths("--model", options.model), prepare_folder(options.work)
        extractor = choose_extractor("vgg16-conv", precision=options.precision)
        results = {}
        for name, folder in named_paths("--data", options.data).items():
            own = prepare_folder(work / name)
            case = load_reasons_case(name, folder, own, extractor, model=models.get(name))
            results[name] = measure_case(case, own, shuffles=options.shuffles, rivals=rivals)
        text = reasons_section(results, further=options.further)
        tell("reasons-further" if options.further else "reasons", text, write=options.write)
    except SAFEError as error:
        print(f"reasons: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
