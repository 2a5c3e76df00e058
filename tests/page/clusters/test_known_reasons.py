"""While RCCs are made, their tab shows the reasons that tables have told already."""

import pytest

from safe_dnn import api
from safe_dnn.page.clusters.tab import ClustersTab
from safe_dnn.page.jobs import Job, Turn
from tests.helpers.answered import record_light
from tests.helpers.laid_out import laid_out, settings_of, shown_in


@pytest.mark.parametrize("found", [True, False])
def test_reasons_that_are_known_are_shown_while_images_are_grouped(case, found):
    if found:
        record_light(case.test / "parameters.csv")
        api.failures(predictions=case.table, test=case.test, out=case.out)
    case.out.mkdir(exist_ok=True)
    tab = laid_out(lambda: ClustersTab(settings_of(case.out)))
    assert "What do you have?" in tab._guide()
    status = tab._progress(Job("clusters", 1, lambda job: None, Turn()))[tab.status]
    assert ("Reasons that are known already" in status) == found
    assert ("What do you have?" in status) != found
    assert "&lt;" not in status.split("<section")[0]
    titles = [text for text in shown_in(status, "b") if text.startswith("light")]
    assert titles == (["light < 0.8065"] if found else [])
    assert ("25 of 26 wrong, " in status) == found
