from markupsafe import Markup

from safe_dnn.pipeline.reporting.markup import badge, escaped, filled, path_text, warning


def test_markup_in_texts_is_displayed_and_not_interpreted():
    hostile = "<img src=x onerror='a'>\x1b"
    for html in (
        escaped(hostile), path_text(hostile), warning(hostile), filled("page/widgets/list.html", lines=[hostile]),
    ):  # fmt: skip
        assert "<img" not in html
        assert "&lt;img src=x onerror=" in html
        assert "\x1b" not in html


def test_what_is_markup_already_is_put_in_as_it_is_and_a_new_line_between_tags_is_no_space():
    html = filled("page/widgets/list.html", lines=[badge("unsafe"), badge("")])
    assert isinstance(html, Markup)
    assert "<span class='verdict unsafe'>unsafe</span>" in html
    assert "<span class='verdict none'>not judged</span>" in html
    assert ">\n<" not in html
    assert warning("") == ""
