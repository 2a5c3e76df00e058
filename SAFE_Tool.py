"""SAFE: why an image-processing DNN fails, and which images to label to repair it.

    python SAFE_Tool.py                      the page on http://127.0.0.1:7860
    python SAFE_Tool.py failures MODEL TEST  before step 1: the images that a Keras model gets wrong
    python SAFE_Tool.py cluster IMAGES       steps 1 and 2: root cause clusters, as GIFs
    python SAFE_Tool.py select IMPROVEMENT   steps 3 and 4: the unsafe set
    python SAFE_Tool.py retrain MODEL        steps 5 and 6: the model fine-tuned with the labelled unsafe set
    python SAFE_Tool.py report               one HTML file of all results, for the safety case
    python SAFE_Tool.py export               the images in a folder for each RCC, with a table and the report

The page (in `page/`) and the command line (in `cli/`) call the same functions and write the same files; the output
folder is all that they share. Whatever takes long to import is imported where it is needed: `--help` answers at once.
"""

import argparse
import os
import sys
import warnings

from cli.arguments import build_parser
from support.errors import SAFEError

PATHS = {
    "out": "an output folder",
    "images": "an image folder",
    "improvement": "a folder of improvement images",
    "model": "a Keras model",
    "test": "a test folder",
    "train": "a training folder",
    "weights": "a file with VGG16's weights",
    "parameters": "parameters as a CSV file",
    "labels": "a table of labels (CSV)",
    "targets": "a table of targets (CSV)",
    "to": "a place to export to",
    "root": "a folder (--root)",
    "example": "a case study (--example)",
}
"""The arguments that are paths on this machine, and what each is."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 on success; 2, with one line on stderr, for what the engineer can put right; 1, with one line as well, for a
        defect of SAFE, whose traceback is logged (see `support/defects.py`); 130 where it was interrupted.
    """
    _replace_closed_streams()
    # Results are written when they are printed: a name that the terminal cannot show must not end in a traceback.
    sys.stdout.reconfigure(errors="replace")
    # SAFE itself names the images that are damaged.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    options = build_parser().parse_args(arguments if arguments is not None else (sys.argv[1:] or ["ui"]))
    try:
        _read_paths(options)
        options.run(options)
        sys.stdout.flush()
    except SAFEError as error:
        from support.text import printable

        print(f"safe: {printable(str(error))}".replace("\n", " "), file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output, `head` for instance, has read enough; the files are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(
            "safe: stopped. Features that were extracted are kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    except Exception as error:  # noqa: BLE001, the door: whatever it is, the engineer gets a line and no traceback
        from support.defects import describe_defect

        print(f"safe: {describe_defect(error)}", file=sys.stderr)
        return 1
    return 0


def _replace_closed_streams() -> None:
    """What is printed to a stream that the shell has closed (`>&-`) is lost.

    Left closed, its number would go to the next file that is opened, and libraries in C would print into that.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123, as long as the process


def _read_paths(options: argparse.Namespace) -> None:
    """Make paths of the arguments that are some; a SAFEError where one can lead nowhere."""
    from support.entries import path_of

    for name, what in PATHS.items():
        if (typed := getattr(options, name, None)) is not None:
            setattr(options, name, path_of(typed, what))


if __name__ == "__main__":
    sys.exit(main())
