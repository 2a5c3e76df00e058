"""Images for a fine-tuning of the colour models."""

import numpy as np

from safe_dnn.training.finetuning import TRAINING, TrainingData
from safe_dnn.training.settings import Settings
from tests.helpers.small_models import NAMES, Ready, draw_colour

QUICK = Settings(learning_rate=0.05, epochs=5, batch_size=8)


def data_for(dnn, plain=10, unsafe=(("red", "blue", 0), ("green", "red", 1)), each=4):
    """Plain training images, and tinted ones of two RCCs that the colour models get wrong."""
    rng = np.random.default_rng(0)
    images, labels, rccs = [], [], []
    for label, name in enumerate(NAMES):
        for _ in range(plain):
            images.append(np.asarray(draw_colour(name, rng)))
            labels.append(label)
            rccs.append(TRAINING)
    for name, tint, rcc in unsafe:
        for _ in range(each):
            images.append(np.asarray(draw_colour(name, rng, tint)))
            labels.append(NAMES.index(name))
            rccs.append(rcc)
    return TrainingData(Ready(dnn, np.stack(images)), np.array(labels), np.array(rccs))
