"""What `check` found, as CI servers read it: JUnit's XML."""

from collections.abc import Iterable
from typing import NamedTuple
from xml.etree import ElementTree

from safe_dnn.support.text import printable

SUITE = "SAFE"


class Case(NamedTuple):
    """A requirement or a reason, and what a test set says of it.

    Attributes
    ----------
    kind : str
        "requirement" or "reason".
    name, text : str
    failure : str
        Why it does not pass, in a word, such as "broken" or "worse"; empty if it does.
    """

    kind: str
    name: str
    text: str
    failure: str = ""


def junit_text(cases: Iterable[Case]) -> str:
    """JUnit XML: a test case for each."""
    cases = list(cases)
    failures = str(sum(bool(case.failure) for case in cases))
    suite = ElementTree.Element("testsuite", name=SUITE, tests=str(len(cases)), failures=failures, errors="0")
    for case in cases:
        element = ElementTree.SubElement(suite, "testcase", classname=f"{SUITE}.{case.kind}", name=printable(case.name))
        text = printable(case.text)
        if case.failure:
            ElementTree.SubElement(element, "failure", type=case.failure, message=text)
        else:
            ElementTree.SubElement(element, "system-out").text = text
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, "unicode", xml_declaration=True) + "\n"
