"""The unsafe set as the page shows it, and its form."""

from safe_dnn.page.unsafe.tab import UnsafeTab
from safe_dnn.pipeline.improvement import select_images
from safe_dnn.pipeline.tagging import answer, begin, open_tagging
from safe_dnn.rccs.unsafe_set import set_key
from safe_dnn.selection import SelectionSettings
from tests.helpers.laid_out import laid_out, settings_of


def test_rccs_judged_safe_are_left_out_unless_the_box_says_otherwise(tmp_path):
    assert laid_out(lambda: UnsafeTab(settings_of(tmp_path))).form["leave_out_safe"].value is True


def test_the_set_is_ordered_by_a_word_the_likeliest_first(explained):
    out = explained.out
    unsafe = select_images(explained.test, out, SelectionSettings(size=12))
    tab = laid_out(lambda: UnsafeTab(settings_of(out)))
    begin(out, "dark night")
    tagging = open_tagging(out, "dark night")
    answers = [(image, "yes" if "night" in image else "no") for image in tagging.tested.paths[::3]]
    answer(tagging, answers[:1])
    assert [tile["title"] for tile in tab.show()[tab.rccs].props["tiles"]][-1] != "dark night"
    answer(tagging, answers)
    tile = tab.show()[tab.rccs].props["tiles"][-1]
    assert (tile["title"], tile["figure"]) == ("dark night", "Order")
    listed = tab._images_of(set_key(unsafe), tile["opens"])
    assert sorted(listed.paths) == sorted(image.image for image in unsafe.images)
    nights = ["night" in image for image in listed.paths]
    assert 0 < sum(nights) < 12
    assert nights == sorted(nights, reverse=True)
    assert "by the probe alone" in listed.heading
    assert listed.told(0) > "50% likely"
