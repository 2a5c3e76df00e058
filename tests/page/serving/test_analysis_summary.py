"""How far an analysis is, in the list."""

import json

import pytest

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.page.analyses import make
from safe_dnn.page.serving.analysis_summary import summary_of
from safe_dnn.pipeline.reporting.report import REPORT_FILE
from safe_dnn.rccs.clusters import LABELS_FILE, RUN_FILE, RootCauseClusters, labels_text, save_clusters
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE
from safe_dnn.store.database import RUNS_FOLDER
from safe_dnn.store.output_folder import save_files
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES_FILE
from safe_dnn.training.result import RETRAINING_FILE
from tests.helpers.features import features_of
from tests.page.test_analyses import fill


@pytest.fixture(scope="module")
def clusters() -> RootCauseClusters:
    return find_root_cause_clusters(features_of([12, 9, 6]))


@pytest.mark.parametrize(("changed", "year"), [(1e12, 9999), (-1e12, 1970), (1e9, 2001)])
def test_a_file_of_any_date_keeps_no_analysis_off_the_list(tmp_path, changed, year):
    assert summary_of(tmp_path / make(tmp_path, "a"))._replace(changed=changed).date.year == year


def test_the_summary_says_how_far_an_analysis_is_and_what_is_next(tmp_path, clusters):
    folder = tmp_path / make(tmp_path, "a")
    assert summary_of(folder)[:5] == (None,) * 5
    assert "Collect the failures" in summary_of(folder).step
    save_files(folder, {ACCURACY_FILE: json.dumps({"failures": 27})})
    assert (summary_of(folder).failures, summary_of(folder).step) == (27, "Group failing images")
    save_clusters(clusters, folder)
    save_files(folder, {LABELS_FILE: labels_text(clusters)})
    summary = summary_of(folder)
    assert (summary.failures, summary.rccs) == (27, clusters.n_rccs)
    assert summary.step == "Select the unsafe set"
    for labels, step in ((",", "Label 2 images"), ("x,", "Label 1 image"), ("x,y", "Retrain")):
        rows = zip("ab", labels.split(","), strict=True)
        save_files(folder, {UNSAFE_SET_FILE: "image,label\n" + "".join(f"{image},{label}\n" for image, label in rows)})
        assert summary_of(folder).step == step
    save_files(folder, {RETRAINING_FILE: json.dumps({"accuracy_before": 0.5, "accuracy_after": 0.75, "test_size": 8})})
    assert summary_of(folder).accuracy == (0.5, 0.75, 8)
    assert summary_of(folder).step == "Look at what is still wrong, and write the report"
    save_files(folder, {REPORT_FILE: ""})
    assert summary_of(folder).step == "Look at what is still wrong"


@pytest.mark.parametrize(
    "name", [LABELS_FILE, f"{RUNS_FOLDER}/1/{RUN_FILE}", FAILURES_FILE, UNSAFE_SET_FILE, RETRAINING_FILE]
)
def test_a_damaged_file_is_left_out_of_the_summary(tmp_path, clusters, name):
    folder = fill(tmp_path / "a", clusters)
    for damage in (b"", b"\xff\xfe\0", b"[1]", b'{"accuracy_before": []}', b"x\t\n"):
        (folder / name).write_bytes(damage)
        assert summary_of(folder).accuracy is None
