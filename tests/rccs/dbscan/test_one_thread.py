from threadpoolctl import threadpool_info, threadpool_limits

from safe_dnn.rccs.dbscan.one_thread import one_thread


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_matrix_products_have_one_thread_and_afterwards_as_many_as_before():
    one_thread()  # imports SciPy's
    with threadpool_limits(2, "blas"):
        before = threads()
        with one_thread():
            assert threads() == {1}
        assert threads() == before
