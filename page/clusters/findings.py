"""What the images of an RCC have in common, as small pictures: a range within that of all failures, or a share."""

from markupsafe import Markup

from pipeline.reporting.markup import filled
from rccs.profiles import Profile


def findings_html(profile: Profile) -> Markup:
    """The findings that stand out, each with a bar; a sentence where none does.

    A bar shows where the RCC's values lie between the least and the greatest of all failing images, with a line at
    their median (an arc that goes beyond the end of the circle comes in two parts); or how many of its images have a
    category, with a line at the share of all failing images.
    """
    if profile.mentioned:
        return filled("page/clusters/findings.html", findings=profile.mentioned)
    return Markup("<p class='safe-profile'>{}</p>").format(profile.text) if profile.text else Markup("")
