from FE import *  # noqa: F403
