"""How to fine-tune the DNN: settings, optimizer and loss, derived from what the model was compiled with.

In: the training configuration in the model file. Out: settings with suitable defaults, and a Keras optimizer and loss.
"""

import math
from typing import Any, NamedTuple

from safe_dnn.dnn.model import Dnn, loss_name
from safe_dnn.options import NO_WISHES, Wishes
from safe_dnn.support.errors import SAFEError, number_of

LEARNING_RATE = 7e-4
LEARNING_RATE_FACTOR = 0.7
LEARNING_RATES = (1e-4, 1e-2)
EPOCHS, MOST_EPOCHS = 8, 40
STEPS = 1000  # least number of training steps, if the epochs are not given; MOST_EPOCHS may be fewer
BATCH_SIZE = 32
VALIDATION_SHARE = 0.1
UNSAFE_SHARE = 0.2
MOST_DRAWS = 2
KEEP = 1.0


# What matters more, the accuracy or that nothing which was right gets worse: values of `Settings`.
AIMS = {
    "accuracy": {"keep_unsafe": 1.0, "unlabelled": 1.0, "answers_share": 0.2},
    "balance": {"keep_unsafe": 3.0, "unlabelled": 3.0, "answers_share": 0.3, "by_right": 0.5},
    "keep": {"keep_unsafe": 3.0, "unlabelled": 3.0, "answers_share": 0.3, "by_right": 1.0},
}
AIM = "balance"

_RANGES = {"learning_rate": (1e-12, 1), "epochs": (1, 10_000), "batch_size": (1, 65_536), "seed": (0, 2**31 - 1)}
_OPTIMIZERS = ("Adam", "AdamW", "Nadam", "Adamax", "RMSprop", "Lion", "SGD", "Adagrad", "Adadelta", "Ftrl")
_ALIASES = {"mse": "meansquarederror", "mae": "meanabsoluteerror", "kld": "kldivergence", "logcosh": "logcosh"}


class Settings(NamedTuple):
    """How to fine-tune.

    Attributes
    ----------
    learning_rate : float
    epochs, batch_size, seed : int
    validation_share : float
        Share of the training images that is held out.
    unsafe_share : float
        Number of unsafe images drawn in an epoch, per training image; each unsafe image is drawn at least once, and
        twice at most.
    keep, keep_unsafe : float
        Weight of the original model's outputs relative to the label, for training images and for unsafe images that it
        predicts correctly.
    unlabelled : float
        Weight of an image without a label in the second pass (see `training/finetuning.py`), a training image having
        1 + keep. With 0 there is no second pass.
    answers_share : float
        Share of the original network in the answers that these images are to give.
    by_right : float
        How much of this share is not fixed, but how likely the original network is right (see
        `training.finetuning.answers_together`), from 0 to 1.
    """

    learning_rate: float
    epochs: int = EPOCHS
    batch_size: int = BATCH_SIZE
    seed: int = 0
    validation_share: float = VALIDATION_SHARE
    unsafe_share: float = UNSAFE_SHARE
    keep: float = KEEP
    keep_unsafe: float = KEEP
    unlabelled: float = 0.0
    answers_share: float = 0.0
    by_right: float = 0.0

    @property
    def passes(self) -> tuple[int, ...]:
        """The number of epochs of each pass."""
        return (self.epochs, self.epochs) if self.unlabelled else (self.epochs,)


class SetSizes(NamedTuple):
    """Numbers of training images, unsafe images, and improvement images without a label."""

    training: int
    unsafe: int
    unlabelled: int = 0


def choose_settings(dnn: Dnn, wishes: Wishes = NO_WISHES, sizes: SetSizes | None = None) -> Settings:
    """Settings with defaults for those that were not requested.

    The default learning rate is 0.7 times the one that the model was compiled with (the initial one of a schedule), or
    7e-4 if that is unknown. It decays to 0 along a cosine (docs/decisions/044-fine-tuning.md). The default number of
    epochs is 8, or more if there are so few images that training would end after fewer than `STEPS` steps
    (docs/decisions/044-fine-tuning.md).

    Parameters
    ----------
    sizes : SetSizes, optional
        For the number of epochs, and whether there is a second pass; without them it is 8, and there is none.

    Raises
    ------
    SAFEError
        A number is invalid or out of range, or the aim is unknown.
    """
    aim = AIM if wishes.aim is None else wishes.aim
    if aim not in AIMS:
        raise SAFEError(f"The aim must be one of {', '.join(AIMS)}. Received: {aim}")
    chosen = {name: value for name, value in wishes._asdict().items() if value is not None}
    values: dict[str, Any] = {"learning_rate": _default_learning_rate(dnn), **AIMS[aim], **chosen}
    values = {name: value for name, value in values.items() if name in Settings._fields}
    for name in _RANGES.keys() & values.keys():
        what = f"The {name.replace('_', ' ')}"
        number, whole, (lowest, highest) = number_of(values[name], what), name != "learning_rate", _RANGES[name]
        if not lowest <= number <= highest or (whole and number != int(number)):
            kind = "a whole number" if whole else "a number"
            raise SAFEError(f"{what} must be {kind} from {lowest:,} to {highest:,}. Received: {values[name]}")
        values[name] = int(number) if whole else number
    settings = Settings(**values)
    if not sizes or not sizes.unlabelled or not settings.unlabelled or dnn.task == "regression":
        settings = settings._replace(unlabelled=0.0, answers_share=0.0, by_right=0.0)
    if sizes and "epochs" not in chosen:
        settings = settings._replace(epochs=_epochs(settings, sizes))
    return settings


def aim_of(settings: Settings) -> str:
    """The aim that gives these settings; empty if none does. With one pass, `keep` is no other than `balance`."""
    alike = [aim for aim in AIMS if AIMS[aim]["keep_unsafe"] == settings.keep_unsafe]
    return next((aim for aim in alike if settings.by_right in (0, AIMS[aim].get("by_right"))), "")


def unsafe_draws(settings: Settings, sizes: SetSizes) -> int:
    """How many unsafe images are drawn in an epoch, before the last batch is filled up.

    Each at least once, more if they are few beside the training images, but at most `MOST_DRAWS` times: drawn more
    often, they cost what was right (docs/decisions/049-draws-of-unsafe-images.md).
    """
    wanted = min(round(settings.unsafe_share * sizes.training), MOST_DRAWS * sizes.unsafe)
    return max(sizes.unsafe, wanted)


def _epochs(settings: Settings, sizes: SetSizes) -> int:
    training = (1 - settings.validation_share) * sizes.training
    steps = (training + unsafe_draws(settings, sizes._replace(training=round(training)))) / settings.batch_size
    return min(max(EPOCHS, math.ceil(STEPS / max(steps, 1))), MOST_EPOCHS)


def _default_learning_rate(dnn: Dnn) -> float:
    name, config = _optimizer_config(dnn)
    rate = config.get("learning_rate")
    if isinstance(rate, dict):
        rate = rate.get("config", {}).get("initial_learning_rate")
    if name is None or not isinstance(rate, (int, float)) or not 0 < rate < 1:
        return LEARNING_RATE
    # A schedule or a callback may have reduced it to almost nothing.
    low, high = LEARNING_RATES
    return float(f"{min(max(LEARNING_RATE_FACTOR * rate, low), high):.3g}")


def _optimizer_config(dnn: Dnn) -> tuple[str | None, dict]:
    """Name and configuration of the optimizer that the model was compiled with; None if it is not from Keras."""
    optimizer = dnn.compiled.get("optimizer")
    if isinstance(optimizer, dict) and optimizer.get("class_name") == "LossScaleOptimizer":
        optimizer = optimizer.get("config", {}).get("inner_optimizer")
    if isinstance(optimizer, dict) and optimizer.get("class_name") in _OPTIMIZERS:
        return optimizer["class_name"], optimizer.get("config") or {}
    return None, {}


def make_optimizer(dnn: Dnn, *, learning_rate: Any = None) -> Any:
    """A new optimizer of the kind that the model was compiled with, or Adam.

    Parameters
    ----------
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule, optional
        By default that of the compiled model.
    """
    import keras

    name, config = _optimizer_config(dnn)
    kind = getattr(keras.optimizers, name or "Adam")
    known = kind().get_config().keys() - {"name", "loss_scale_factor"}
    known_config = {key: value for key, value in config.items() if key in known}
    return kind.from_config(known_config if learning_rate is None else {**known_config, "learning_rate": learning_rate})


def compile_like_original(dnn: Dnn, model: Any) -> None:
    """Compile a fine-tuned model like the original one, so that it is saved, and can be retrained, in the same way."""
    if dnn.compiled:
        metrics = ["accuracy"] if dnn.task == "classification" else None
        model.compile(optimizer=make_optimizer(dnn), loss=choose_loss(dnn)[0], metrics=metrics)


def choose_loss(dnn: Dnn, *, dense: bool = False) -> tuple[Any, str]:
    """The loss that the model was compiled with or, if that is not from Keras, the usual one for its outputs.

    Parameters
    ----------
    dense : bool
        Choose a loss for targets of the same shape as the outputs: sparse cross-entropy is replaced by the equivalent
        cross-entropy for one-hot rows.

    Returns
    -------
    loss : keras.losses.Loss
    summary : str
        A sentence with the name of the loss and the reason for it.
    """
    import keras

    kinds = {name.lower(): kind for name, kind in vars(keras.losses).items() if isinstance(kind, type)}
    compiled = loss_name(dnn.compiled)
    name = _ALIASES.get(compiled, compiled)
    if dnn.task == "regression":
        usual, fits = "meansquarederror", "crossentropy" not in name and "hinge" not in name
    elif dnn.n_outputs == 1:
        usual, fits = "binarycrossentropy", "categorical" not in name
    else:
        usual, fits = "sparsecategoricalcrossentropy", True
    fits = fits and name in kinds
    name = name if fits else usual
    whys = (
        "the usual one for such outputs, since the model's own is unknown",
        "the one that the model was compiled with",
    )
    summary = f"Loss: {kinds[name].__name__} ({whys[fits]})."
    kind = kinds[name.removeprefix("sparse") if dense else name]
    loss = dnn.compiled.get("loss")
    stored = loss.get("config") if fits and isinstance(loss, dict) else None
    known = kind().get_config().keys() - {"name", "dtype", "reduction"}
    config = {key: value for key, value in stored.items() if key in known} if isinstance(stored, dict) else {}
    if "from_logits" in known:
        config["from_logits"] = dnn.activation == "logits"
    return kind(**config), summary
