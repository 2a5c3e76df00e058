import pytest

from safe_dnn.options import ClusteringSettings, GivenAnswers, values_of
from safe_dnn.page.clusters.tab import ClustersForm
from safe_dnn.rccs.clusters import save_clusters
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


def test_every_option_of_a_run_is_filled_in_again_by_a_page_that_is_started_later(clusters, tmp_path):
    """Whatever gave it: the page, the command or a program; also after the folder was moved with its tables."""
    given = ClusteringSettings(
        "vgg16-conv", "pca", precision="float32", features=None, parameters=tmp_path / "a" / "known.csv",
        answers=GivenAnswers(tmp_path / "a" / "answers.csv", tmp_path / "a" / "test", True, ("person", "drive")),
        set_aside=("camera",),
    )  # fmt: skip
    save_clusters(clusters, tmp_path / "a" / "out", extra={"settings": values_of(given)})
    (tmp_path / "a").rename(tmp_path / "b")
    out = tmp_path / "b" / "out"
    form = laid_out(lambda: ClustersForm(settings_of(out)))._last_form()
    assert form == {
        "folder": str(clusters.home), "extractor": "vgg16-conv", "reducer": "pca", "precision": "float32",
        "features": "", "parameters": str(tmp_path / "b" / "known.csv"), "partial": True,
        "predictions": str(tmp_path / "b" / "answers.csv"), "tested": str(tmp_path / "b" / "test"),
        "group": ["person", "drive"], "aside": ["camera"],
    }  # fmt: skip


def test_options_that_were_not_given_are_left_to_safe_the_next_time_too(clusters, tmp_path):
    save_clusters(clusters, tmp_path, extra={"settings": values_of(ClusteringSettings())})
    form = laid_out(lambda: ClustersForm(settings_of(tmp_path)))._last_form()
    assert {form[name] for name in ("extractor", "reducer", "precision")} == {"auto"}
    assert {form[name] for name in ("predictions", "tested", "parameters", "features")} == {""}
    assert (form["partial"], form["group"], form["aside"]) == (False, [], [])
