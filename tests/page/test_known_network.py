"""The network whose failures were collected is given in the form of the unsafe set, where it can be run again."""

import dataclasses
import json
import zipfile

import pytest

from dnn.failures import collect_failures
from page.failures.collected import failures_of, model_of
from page.forms import remember
from page.jobs import Jobs, PageSettings
from page.results import Results
from page.unsafe.tab import TAB, UnsafeTab
from rccs.clusters import fingerprint, save_clusters
from store.places import absolute
from support.run_folder import ACCURACY_FILE, FAILURES
from tests.helpers.answered import draw_case
from tests.helpers.small_models import clusters_of


def model_file(path, layer="Dense"):
    """A file that says which layers a model has."""
    with zipfile.ZipFile(path, "w") as archive:
        layers = [{"module": "keras.layers", "class_name": layer, "config": {}}]
        config = {"module": "keras", "class_name": "Sequential", "config": {"layers": layers}}
        archive.writestr("config.json", json.dumps(config))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An output folder with failures as if a Keras model had been run, and their RCCs."""
    folder = tmp_path_factory.mktemp("known")
    case = draw_case(folder)
    found = collect_failures(case.table, case.test, case.out)
    labels = dict.fromkeys((failure.source for failure in found.failing), 0)
    save_clusters(clusters_of((case.out / FAILURES).resolve(), labels), case.out)
    record = json.loads((case.out / ACCURACY_FILE).read_text())
    assert absolute(record["model"], case.out) == str(case.table)
    (case.out / ACCURACY_FILE).write_text(json.dumps({**record, "model": str(model_file(folder / "model.keras"))}))
    return folder


def form_of(folder, root=None):
    tab = UnsafeTab.__new__(UnsafeTab)  # without its widgets, each of which opens an event loop
    tab._settings = PageSettings(folder / "out", Jobs(), Results(folder / "out", root), root=root)
    return tab._last_form()


def test_the_network_and_its_test_folder_are_filled_in_unless_others_were_sent(folder):
    form = form_of(folder)
    assert (form["model"], form["test"]) == (str(folder / "model.keras"), str(folder / "test"))
    run = fingerprint(Results(folder / "out").shown().review.original)
    remember(folder / "out", TAB, {"accuracy": "0.8", "model": "", "test": "", "run": run})
    assert form_of(folder)["model"] == ""
    remember(folder / "out", TAB, {})
    # Not for visitors who may not see it.
    assert "model" in form_of(folder, folder)
    assert "model" not in form_of(folder, folder / "out")


def test_a_network_that_must_be_told_something_or_is_gone_is_not_filled_in(folder, tmp_path):
    failures = failures_of(Results(folder / "out").shown().review.original, folder / "out")
    assert model_of(failures) == folder / "model.keras"
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"PK")
    for change in (
        {"task": "regression"},
        {"model": folder / "dnn" / "predictions.csv"},
        {"model": folder / "gone.keras"},
        {"model": model_file(tmp_path / "code.keras", "Lambda")},
        {"model": broken},
        {"assumptions": ("Pixels: not scaled (as requested).",)},
    ):
        assert model_of(dataclasses.replace(failures, **change)) is None, change
