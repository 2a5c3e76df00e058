from clustering import *  # noqa: F403
