"""SAFE: why an image-processing DNN fails, and which images to label to repair it.

    python SAFE_Tool.py                      the web page on http://127.0.0.1:7860
    python SAFE_Tool.py failures MODEL TEST  before step 1: collect the images that a model gets wrong
    python SAFE_Tool.py cluster IMAGES       steps 1 and 2: group them into root cause clusters, drawn as GIFs
    python SAFE_Tool.py confirm              what was found, on a fresh test set
    python SAFE_Tool.py probe                what would change the answers: is a reason the cause, or its companion?
    python SAFE_Tool.py check REQUIREMENTS   whether requirements on how often the model may be wrong are shown to hold
    python SAFE_Tool.py select IMPROVEMENT   steps 3 and 4: select the images to label (the unsafe set)
    python SAFE_Tool.py retrain MODEL        steps 5 and 6: fine-tune the model with the labelled unsafe set
    python SAFE_Tool.py compare              step 6 for a network that was retrained elsewhere
    python SAFE_Tool.py register             hazards, measures and owners of the reasons, as a table to fill in
    python SAFE_Tool.py report               write all results to one HTML file, for the safety case
    python SAFE_Tool.py export               copy the images to a folder per RCC, with a table and the report
    python SAFE_Tool.py evidence             write the digests of all results and of all that they rest on
    python SAFE_Tool.py verify               check that nothing has changed since
    python SAFE_Tool.py moved OLD NEW        where the images lie by now, whose folder was moved
    python SAFE_Tool.py weights              download the weights of vgg16-conv from the package index

The page (`safe_dnn/page/`) and the command line (`safe_dnn/cli/`) call the same functions and write the same files;
they share nothing but the output folder. Slow imports are local to the functions that need them, so `--help` answers at
once.
"""

import gc
import io
import os
import sys
import warnings

from safe_dnn.cli.arguments import build_parser, check_analysis, read_paths, speaking_of
from safe_dnn.cli.terminal import terminal_progress, warn
from safe_dnn.support.errors import SAFEError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 on success; 2, with one line on stderr, for an error that the engineer can correct; 1, also with one line, for
        a defect of SAFE, whose traceback is logged (see `safe_dnn/support/defects.py`); 3 if `check` does not show that
        all requirements hold; 130 if interrupted.
    """
    _replace_closed_streams()
    # The results are already written when they are printed: a name that the terminal cannot encode is no failure.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    # SAFE reports damaged images itself.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    options = build_parser().parse_args(arguments if arguments is not None else (sys.argv[1:] or ["ui"]))
    try:
        read_paths(options)
        if not options.changes_nothing:
            check_analysis(options.out)
        with speaking_of(options), terminal_progress():
            status = options.run(options.out, options)
        sys.stdout.flush()
    except SAFEError as error:
        warn(error.named({name: f"--{name.replace('_', '-')}" for name in vars(options)}).replace("\n", " "))
        return 2
    except BrokenPipeError:  # the reader of the output, for example `head`, has closed it; the files are written
        _discard_output()
        return 0
    except KeyboardInterrupt:
        warn("stopped. Extracted features are kept; run the same command again to continue from there.")
        return 130
    except Exception as error:  # noqa: BLE001, the outermost handler: the engineer gets a line, not a traceback
        from safe_dnn.support.defects import describe_defect

        warn(describe_defect(error))
        return 1
    return status or 0


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace_closed_streams() -> None:
    """Discard what is printed to a stream that the shell has closed (`>&-`).

    Otherwise the next file opened would get the stream's file descriptor, and C libraries would print into that file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123, open until the process ends


def run() -> None:
    """Run the command line as a program."""
    status = main()
    gc.freeze()  # the system takes all memory back at once: to look through it first takes a quarter of a second
    sys.exit(status)


if __name__ == "__main__":
    run()
