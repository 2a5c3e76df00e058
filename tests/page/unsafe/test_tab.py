"""The unsafe set as the page shows it, and its form."""

from safe_dnn.page.unsafe.tab import UnsafeTab
from tests.helpers.laid_out import laid_out, settings_of


def test_rccs_judged_safe_are_left_out_unless_the_box_says_otherwise(tmp_path):
    assert laid_out(lambda: UnsafeTab(settings_of(tmp_path))).form["leave_out_safe"].value is True
