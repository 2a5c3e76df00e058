"""The network and its test folder, as other tabs fill them in."""

import json

import pytest

from safe_dnn.dnn.failures import collect_failures
from safe_dnn.page.forms import remember
from safe_dnn.page.retraining.tab import RetrainingTab
from safe_dnn.page.settings import Results
from safe_dnn.page.steps import UNSAFE_TAB
from safe_dnn.page.unsafe.tab import UnsafeTab
from safe_dnn.rccs.clusters import fingerprint, save_clusters
from safe_dnn.store.places import absolute
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES
from tests.helpers.answered import draw_case
from tests.helpers.laid_out import settings_of
from tests.helpers.small_models import clusters_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An output folder with failures as if a Keras model had been run, and their RCCs."""
    folder = tmp_path_factory.mktemp("known")
    case = draw_case(folder)
    found = collect_failures(case.table, case.test, case.out)
    labels = dict.fromkeys(found.failing, 0)
    save_clusters(clusters_of((case.out / FAILURES).resolve(), labels), case.out)
    record = json.loads((case.out / ACCURACY_FILE).read_text())
    assert absolute(record["model"], case.out) == str(case.table)
    (folder / "model.keras").touch()
    (case.out / ACCURACY_FILE).write_text(json.dumps({**record, "model": str(folder / "model.keras")}))
    return folder


def form_of(folder, root=None, kind=UnsafeTab):
    tab = kind.__new__(kind)  # without its widgets, each of which opens an event loop
    tab._settings = settings_of(folder / "out", root)
    return tab._last_form()


def test_the_network_and_its_test_folder_are_filled_in_unless_others_were_sent(folder):
    for kind in (UnsafeTab, RetrainingTab):
        form = form_of(folder, kind=kind)
        assert (form["model"], form["test"]) == (str(folder / "model.keras"), str(folder / "test"))
    run = fingerprint(Results(folder / "out").state().review.original)
    remember(folder / "out", UNSAFE_TAB, {"accuracy": "0.8", "model": "", "test": "", "run": run})
    assert form_of(folder)["model"] == ""
    remember(folder / "out", UNSAFE_TAB, {})
    record = json.loads((folder / "out" / ACCURACY_FILE).read_text())
    (folder / "out" / ACCURACY_FILE).write_text(json.dumps({**record, "trust_model": True}))
    assert "model" not in form_of(folder)  # it is trusted anew each time
    (folder / "out" / ACCURACY_FILE).write_text(json.dumps(record))
    # Not for visitors who may not see it.
    assert "model" in form_of(folder, folder)
    assert "model" not in form_of(folder, folder / "out")
