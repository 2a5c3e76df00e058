from selection import *  # noqa: F403
