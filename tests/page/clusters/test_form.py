import dataclasses

import pytest

from safe_dnn.features.extractor import Extractor
from safe_dnn.page.clusters.tab import ClustersForm, requested_extractor, requested_precision
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import FAILURES, FAILURES_MARK
from tests.helpers.laid_out import laid_out, settings_of


def test_without_a_folder_the_failures_that_were_collected_are_grouped(tmp_path):
    form = laid_out(lambda: ClustersForm(settings_of(tmp_path)))
    fields = dict.fromkeys(form.named(form.widgets))
    with pytest.raises(SAFEError, match=r"an image folder\. Received: nothing"):
        form.wanted(fields)
    (tmp_path / FAILURES).mkdir()
    (tmp_path / FAILURES / FAILURES_MARK).write_text("a/0.png")
    assert form.wanted(fields)[0] == str(tmp_path / FAILURES)


def test_the_form_keeps_the_extractor_and_the_precision_of_a_run(clusters, monkeypatch):
    conv = Extractor("vgg16-conv", "vgg16-conv-4224-0-float32", None)
    run = dataclasses.replace(clusters, extractor=conv)
    assert (requested_extractor(run), requested_precision(run)) == ("vgg16-conv", "auto")
    assert (
        requested_extractor(dataclasses.replace(run, extractor=dataclasses.replace(conv, notice="Using it."))) == "auto"
    )
    assert requested_extractor(dataclasses.replace(run, extractor=dataclasses.replace(conv, name="vgg16"))) == "auto"
    monkeypatch.setattr("safe_dnn.features.vgg16._processor_flags", lambda: {"amx_bf16"})
    assert requested_precision(run) == "float32"
