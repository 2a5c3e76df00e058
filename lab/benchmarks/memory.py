"""Memory of a process."""

from pathlib import Path


def peak_resident_mb() -> float:
    """Peak resident memory of this process so far, in 10⁶ bytes.

    Not by `getrusage`, whose figure starts with the size of the parent process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: bytes
