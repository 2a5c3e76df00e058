"""The report's sections of fixed text: how to read it, what it does not show, and who signs it."""

from dbscan.outcome import NOISE
from rccs.confidence import BOUND
from reporting.markup import html_table
from reporting.material import Material
from support.text import count


def reading_section(known: Material) -> str:
    """What the words of the report mean, and what it is evidence for."""
    judged = "Its name, note and verdict are the engineer's." if known.review.notes else "No RCC has been judged yet."
    measured = known.clusters.steadiness is not None
    steady = (
        "<li><b>Steadiness</b>: random parts of the failing images are clustered again and again. The figure is how "
        "often two images of the RCC are together then, in the clusterings in which both take part, on average over "
        f"its images. Below {BOUND} an RCC is <em>loose</em>: its images may not share one reason. Small RCCs are "
        "loose more easily, since a part may hold too few of their images. Steadiness is no failure rate, and does not "
        "prove that the images of an RCC share a reason.</li>"
        "<li>An image is <b>between</b> two RCCs if it is with the images of the other at least half as often as with "
        "those of its own.</li>"
    )
    return (
        "<ul>"
        "<li>An <b>RCC</b> is a set of failing images that look alike to a network trained on everyday images. What "
        "they have in common is a hypothesis of why the DNN fails: in the terms of ISO 21448 (SOTIF), a candidate for "
        f"a triggering condition that meets a functional insufficiency. {judged}</li>"
        "<li><b>Five images</b> of each RCC are shown, drawn at random (always the same). They are enough for most "
        "people to recognize the root cause; the animated GIFs in the results show all images.</li>"
        "<li><b>Judged</b> says whether failing for this reason is a hazard in the intended use: <em>unsafe</em>, "
        "<em>safe</em>, <em>unclear</em>, or not judged.</li>"
        "<li>If the images' <b>parameters</b> are known, a line names those that vary much less within the RCC than "
        "among all failing images: the range of the middle 90% of its images and, in brackets, of all failures. A word "
        "for what is measured, such as <em>dark</em>, says on which side of the other failures' median at least 80% of "
        "its images lie.</li>"
        "<li>If the network's answers to its whole test set are known, an RCC has a <b>failure rate</b>: of all tested "
        "images that look like those of the RCC, the share that the network gets wrong, with a 95% interval. Images "
        "that look alike are a reason for failing only if the network fails on them more often than elsewhere "
        "(Fisher's exact test, corrected for the number of RCCs).</li>"
        + (steady if measured else "")
        + "<li><b>Most like</b> are the RCCs whose centres are closest, the closest first; they may have the same root "
        "cause.</li>"
        "<li>The <b>images to label</b> (the unsafe set) are the new images most like the RCCs' core images; the DNN "
        "is retrained with them.</li>"
        "</ul>"
        "<p>The report supports the identification and evaluation of functional insufficiencies and triggering "
        "conditions (ISO 21448:2022, clause 7) and records the retraining as a functional modification (clause 8). It "
        "is evidence for a safety case, not an assessment: see the limits at its end.</p>"
    )


def limits_section(known: Material) -> str:
    """What the report does not show."""
    return (
        "<ul>"
        "<li>The RCCs contain only the failing images that were given. Failures that do not occur in the test set are "
        "missing; the completeness of the test set has to be argued elsewhere.</li>"
        "<li>Images are grouped by what a network trained on everyday images responds to: texture, colour, shape, "
        "blur, darkness. Two causes that look alike may share an RCC, and one cause may be spread over several.</li>"
        "<li>That the images of an RCC have something in common does not prove that this makes the network fail. The "
        "profiles and the retraining are evidence for or against it.</li>"
        f"<li>{count(int((known.clusters.labels == NOISE).sum()), 'image')} in no cluster and "
        f"{count(len(known.clusters.skipped), 'skipped file')} are covered by no RCC.</li>"
        "<li>Names and verdicts are an engineer's judgement, based on samples.</li>"
        "<li>The authors of the method give no formula for the size of the unsafe set; SAFE's is in the README.</li>"
        "</ul>"
        "<p class='small soft'>Method: Attaoui, Pastore, Briand, “SAFE: Safety Analysis and Retraining of DNNs”, "
        "ICSE-Companion 2024, doi 10.1145/3639478.3640028; Attaoui, Fahmy, Pastore, Briand, ACM TOSEM 32(3):79, 2023, "
        "doi 10.1145/3550271.</p>"
    )


def sign_off_section(known: Material) -> str:
    """Lines to sign on."""
    rows = [[role, "", "", ""] for role in ("Analysed by", "Reviewed by")]
    return f"<div class='sign'>{html_table(['Role', 'Name', 'Date', 'Signature'], rows)}</div>"
