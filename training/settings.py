"""How to train the DNN further: settings, optimizer and loss, from what the model was compiled with.

In: what the model file says of its training. Out: numbers with sound defaults, and Keras's optimizer and loss.
"""

from typing import Any, NamedTuple

from dnn.model import Dnn, loss_name
from support.errors import SAFEError

LEARNING_RATE = 7e-4
LEARNING_RATE_FACTOR = 0.7
LEARNING_RATES = (1e-4, 1e-2)
EPOCHS = 8
BATCH_SIZE = 32
VALIDATION_SHARE = 0.1
UNSAFE_SHARE = 0.2
KEEP = 1.0

_OPTIMIZERS = ("Adam", "AdamW", "Nadam", "Adamax", "RMSprop", "Lion", "SGD", "Adagrad", "Adadelta", "Ftrl")
_ALIASES = {"mse": "meansquarederror", "mae": "meanabsoluteerror", "kld": "kldivergence", "logcosh": "logcosh"}


class Settings(NamedTuple):
    """How to fine-tune.

    Attributes
    ----------
    learning_rate : float
    epochs, batch_size, seed : int
    validation_share : float
        Of the training images that is held out.
    unsafe_share : float
        The unsafe images drawn in an epoch are at least this many for each training image; never fewer than there are.
    keep : float
        How much the outputs of the model as it was given count beside the label, for images that it gets right.
    """

    learning_rate: float
    epochs: int = EPOCHS
    batch_size: int = BATCH_SIZE
    seed: int = 0
    validation_share: float = VALIDATION_SHARE
    unsafe_share: float = UNSAFE_SHARE
    keep: float = KEEP


class Wishes(NamedTuple):
    """What the engineer asks for of `Settings`, as typed; None for the default."""

    learning_rate: float | str | None = None
    epochs: int | str | None = None
    batch_size: int | str | None = None
    seed: int | str | None = None
    validation_share: float | None = None
    unsafe_share: float | None = None
    keep: float | None = None


NO_WISHES = Wishes()


def choose_settings(dnn: Dnn, wishes: Wishes = NO_WISHES) -> Settings:
    """Settings with defaults for what was not asked for.

    The learning rate is 0.7 of that which the model was compiled with (where it fell during training: of the first),
    and 7e-4 where it is not known. It falls to 0 along a cosine. Measured on two networks (signs, eyes): a third of the
    rate learns less from the unsafe set, the whole rate loses more of what was right.

    Raises
    ------
    SAFEError
        A number is out of range.
    """
    given = {name: value for name, value in wishes._asdict().items() if value is not None}
    settings = Settings(**{"learning_rate": _default_learning_rate(dnn), **given})
    for name, lowest, highest in (
        ("learning_rate", 0, 1),
        ("epochs", 1, 10_000),
        ("batch_size", 1, 65_536),
        ("seed", 0, 2**31 - 1),
        ("validation_share", 0, 0.5),
        ("unsafe_share", 0, 100),
        ("keep", 0, 100),
    ):
        value = getattr(settings, name)
        whole = isinstance(getattr(Settings(0.1), name), int)
        try:
            number = float(value)
            fits = lowest <= number <= highest and not (whole and number != int(number))
        except (TypeError, ValueError):
            fits = False
        if not fits or (name in ("learning_rate", "validation_share") and number == 0):
            kind = "a whole number" if whole else "a number"
            raise SAFEError(f"{name} must be {kind} from {lowest:g} to {highest:g}. Received: {value}")
        settings = settings._replace(**{name: int(number) if whole else number})
    return settings


def _default_learning_rate(dnn: Dnn) -> float:
    name, config = _optimizer_config(dnn)
    rate = config.get("learning_rate")
    if isinstance(rate, dict):
        rate = rate.get("config", {}).get("initial_learning_rate")
    if name is None or not isinstance(rate, (int, float)) or not 0 < rate < 1:
        return LEARNING_RATE
    # A schedule or a callback may have left next to nothing of it.
    low, high = LEARNING_RATES
    return float(f"{min(max(LEARNING_RATE_FACTOR * rate, low), high):.3g}")


def _optimizer_config(dnn: Dnn) -> tuple[str | None, dict]:
    """Name and settings of the optimizer that the model was compiled with; None where it is none of Keras's."""
    optimizer = dnn.compiled.get("optimizer")
    if isinstance(optimizer, dict) and optimizer.get("class_name") == "LossScaleOptimizer":
        optimizer = optimizer.get("config", {}).get("inner_optimizer")
    if isinstance(optimizer, dict) and optimizer.get("class_name") in _OPTIMIZERS:
        return optimizer["class_name"], optimizer.get("config") or {}
    return None, {}


def make_optimizer(dnn: Dnn, learning_rate: Any = None) -> Any:
    """The kind of optimizer that the model was compiled with, or Adam; without a state."""
    import keras

    name, config = _optimizer_config(dnn)
    kind = getattr(keras.optimizers, name or "Adam")
    known = kind().get_config().keys() - {"name", "loss_scale_factor"}
    kept = {key: value for key, value in config.items() if key in known}
    return kind.from_config(kept if learning_rate is None else {**kept, "learning_rate": learning_rate})


def compile_as_given(dnn: Dnn, model: Any) -> None:
    """Compile a fine-tuned model as the DNN was, so that it is saved, and one day retrained, like that one."""
    if dnn.compiled:
        metrics = ["accuracy"] if dnn.task == "classification" else None
        model.compile(optimizer=make_optimizer(dnn), loss=choose_loss(dnn)[0], metrics=metrics)


def choose_loss(dnn: Dnn, dense: bool = False) -> tuple[Any, str]:
    """The loss that the model was compiled with or, where that is none of Keras's, the usual one for its outputs.

    Parameters
    ----------
    dense : bool
        Take targets of the shape of the outputs: cross-entropy of integers becomes that of one-hot rows, its equal.

    Returns
    -------
    loss : keras.losses.Loss
    said : str
        Which loss it is and why, in words.
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
    why = "as the model was compiled with" if fits else "the usual one for such outputs; the model's own is not known"
    said = f"Loss: {kinds[name].__name__} ({why})."
    kind = kinds[name.removeprefix("sparse") if dense else name]
    loss = dnn.compiled.get("loss")
    stored = loss.get("config") if fits and isinstance(loss, dict) else None
    known = kind().get_config().keys() - {"name", "dtype", "reduction"}
    config = {key: value for key, value in stored.items() if key in known} if isinstance(stored, dict) else {}
    if "from_logits" in known:
        config["from_logits"] = dnn.activation == "logits"
    return kind(**config), said
