"""SAFE for programs and notebooks: a function for each step, which the command line calls as well.


    safe.failures("model.keras", "test", "out")
    reasons = safe.cluster("out/failures", "out", group="person")
    reasons.to_frame()

Each works on an analysis, the folder `out`. Options are those of the command line and have their names: they are the
fields of the records of settings that a function lists. docs/steps.ipynb shows six of them. (`safe_dnn.retrain` is the
module of step 6; the function is here.)

Progress is reported to whoever listens, who may stop the work by an exception:


    with reporting(lambda what, done, total: print(what, done, total)):
        safe.cluster("out/failures", "out")

Models run in a process of their own: a script calls these functions below `if __name__ == "__main__":`.
"""

from safe_dnn.api.assuring import check, confirm, evidence, export, register, report, verify
from safe_dnn.api.finding import cluster, crops, failures, heatmaps, probe, reasons, word
from safe_dnn.api.repairing import compare, label, retrain, select
from safe_dnn.api.results import StepResult

__all__ = (
    "StepResult", "check", "cluster", "compare", "confirm", "crops", "evidence", "export", "failures", "heatmaps",
    "label", "probe", "reasons", "register", "report", "retrain", "select", "verify", "word",
)  # fmt: skip
