"""What was typed into the page's forms is kept in the output folder."""

import os
import threading
from pathlib import Path

import pytest

from page import retraining_tab
from page.forms import LONGEST, remember, remembered, renewed
from page.jobs import Job, Jobs, PageSettings
from page.results import Results
from support.run_folder import FORMS_FILE
from tests.helpers.laid_out import laid_out


def test_each_tab_gets_back_what_it_kept_last(tmp_path):
    remember(tmp_path, "unsafe", {"accuracy": "0.9", "leave_out": True, "size": None})
    remember(tmp_path, "retraining", {"model": "<b>\ud800</b>", "only_labelled": False, "rate": ""})
    remember(tmp_path, "unsafe", {"accuracy": "0.8", "leave_out": False, "size": "7"})
    assert remembered(tmp_path, "unsafe") == {"accuracy": "0.8", "leave_out": False, "size": "7"}
    assert remembered(tmp_path, "retraining") == {"model": "<b>\ud800</b>", "only_labelled": False, "rate": ""}
    assert remembered(tmp_path, "clusters") == {}


def test_what_is_too_long_or_was_never_typed_is_not_kept(tmp_path):
    remember(tmp_path, "unsafe", {"accuracy": "1" * LONGEST, "size": None, "factor": "0.3"})
    assert remembered(tmp_path, "unsafe") == {"factor": "0.3"}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"unsafe": 3}', '{"unsafe": {"size": [1]}}', "[" * 100_000]
)
def test_a_damaged_file_holds_nothing_and_is_replaced(tmp_path, content):
    remember(tmp_path, "unsafe", {"size": "6"})
    (tmp_path / FORMS_FILE).write_text(content)
    assert remembered(tmp_path, "unsafe") == {}
    remember(tmp_path, "unsafe", {"size": "7"})
    assert remembered(tmp_path, "unsafe") == {"size": "7"}


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / FORMS_FILE)
    assert remembered(tmp_path, "unsafe") == {}


def test_a_file_that_another_program_wrote_stays(tmp_path):
    (tmp_path / FORMS_FILE).write_text('{"fields": 3}')
    remember(tmp_path, "unsafe", {"size": "7"})
    assert (tmp_path / FORMS_FILE).read_text() == '{"fields": 3}'


def test_with_another_run_fields_hold_what_it_was_made_with_but_for_what_was_typed_since():
    before = {"model": "a.keras", "train": "a", "rate": "", "seed": "1", "only_labelled": True}
    typed = {"model": "a.keras", "train": "typed", "rate": None, "seed": "1", "only_labelled": True}
    after = {"model": "b.keras", "train": "b", "rate": "0.1", "seed": "1", "only_labelled": False}
    assert renewed(before, typed, after) == {"model": "b.keras", "rate": "0.1", "only_labelled": False}
    assert renewed({}, dict.fromkeys(after, "typed"), after) == {}


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "nowhere").touch()
    remember(tmp_path / "nowhere", "unsafe", {"size": "7"})
    assert remembered(tmp_path / "nowhere", "unsafe") == {}


def test_tabs_that_keep_at_once_lose_nothing(tmp_path: Path):
    def keep(tab: str) -> None:
        for number in range(30):
            remember(tmp_path, tab, {"size": str(number)})

    threads = [threading.Thread(target=keep, args=(tab,)) for tab in ("unsafe", "retraining")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {remembered(tmp_path, tab)["size"] for tab in ("unsafe", "retraining")} == {"29"}


@pytest.mark.parametrize(("checked", "unlabelled"), [(True, 0), (False, None), ("", None)])
def test_labelled_images_only_are_what_the_box_asks_for(tmp_path, monkeypatch, checked, unlabelled):
    asked = []
    monkeypatch.setattr(retraining_tab, "retrain", lambda *paths, wishes, **more: asked.append(wishes))
    tab = laid_out(lambda: retraining_tab.RetrainingTab(PageSettings(tmp_path, Jobs(), Results(tmp_path, None))))
    form = dict.fromkeys(tab.form.named(tab.form.widgets), "") | {"model": "m", "train": "a", "test": "b"}
    tab._retrain(Job("retraining", 1, print), form | {"one_pass": checked}, trust=False)
    assert [wishes.unlabelled for wishes in asked] == [unlabelled]
