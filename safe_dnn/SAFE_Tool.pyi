from SAFE_Tool import *  # noqa: F403
