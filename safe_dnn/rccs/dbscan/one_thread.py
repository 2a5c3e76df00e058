"""One thread for matrix products: the last digits of sums, and so perhaps labels, depend on the number of threads."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager:
    """A context in which BLAS uses one thread.

    Contexts that overlap in time in several threads must be within one that all of them share: otherwise the first one
    that ends gives the others their threads back.
    """
    return _controller().limit(limits=1)


@cache
def _controller() -> ThreadpoolController:
    # Looking through the libraries of the process takes 2 ms, so it is done once, when SciPy's BLAS is there as well.
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()
