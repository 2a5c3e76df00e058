from xml.etree import ElementTree

from safe_dnn.pipeline.confirmation import Case, junit_text

CASES = (
    Case("requirement", "light < 0.4 & \x0bfog", "12 of 90 wrong, at most 5 % required", "broken"),
    Case("reason", "RCC 0", "no worse"),
)


def test_junit_has_a_test_for_each_case_whatever_its_name_holds():
    suite = ElementTree.fromstring(junit_text(CASES))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    broken, passed = suite
    assert broken.get("name", "").startswith("light < 0.4 & ")
    assert (broken[0].tag, broken[0].get("type")) == ("failure", "broken")
    assert (passed.get("classname"), passed[0].tag) == ("SAFE.reason", "system-out")
