"""The table of tabs, which steps, jobs, forms and scripts take their names from."""

from safe_dnn.page.app import CLASSES
from safe_dnn.page.job_view import News
from safe_dnn.page.steps import TABS
from tests.helpers.laid_out import laid_out, settings_of


def test_each_tab_has_a_row_a_class_and_a_folder_of_its_name():
    assert [kind.__module__ for kind in CLASSES] == [f"safe_dnn.page.{name}.tab" for name in TABS]


def test_whoever_asks_for_news_hears_of_the_work_of_each_tab(tmp_path):
    news = laid_out(lambda: News(settings_of(tmp_path)))
    assert all(callable(getattr(news.widget, name)) for name in (*TABS, "folder", "notes", "edits"))
