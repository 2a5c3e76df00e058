"""Which extractors there are, in one table. Step 1. Nothing is imported for it: the command line's help lists them."""

from typing import NamedTuple


class Kind(NamedTuple):
    """What an extractor takes of VGG16, and how it is described.

    Attributes
    ----------
    fc2 : bool
        The outputs of the layer fc2.
    means : bool
        The means of the channels of the convolutional layers, behind those.
    summary, meaning : str
        On the command line, and on the page.
    """

    fc2: bool
    means: bool
    summary: str
    meaning: str


EXTRACTORS = {
    "auto": Kind(True, True, "vgg16 if its weights are available, otherwise vgg16-conv",
                 "vgg16 if its weights (553 MB) are on disk or can be downloaded, otherwise vgg16-conv"),
    "vgg16": Kind(True, True, "the next two, joined",
                  "what an image shows and what disturbs it, the features of the next two joined"),
    "vgg16-fc2": Kind(True, False, "the paper's",
                      "the paper's 4,096 features alone, which say most about what an image shows"),
    "vgg16-conv": Kind(False, True, "means of the convolutional layers, which come with a Python package",
                       "the mean of each channel of the convolutional layers, for machines without internet access"),
}  # fmt: skip
