from retrain import *  # noqa: F403
