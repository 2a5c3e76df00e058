import os

import pytest

from safe_dnn.support.quiet import quiet_stderr


def test_what_a_library_writes_to_stderr_is_discarded_and_what_comes_later_is_not_also_after_an_error(capfd):
    def load() -> None:
        with quiet_stderr():
            os.write(2, b"a warning of C++")
            raise ImportError

    with pytest.raises(ImportError):
        load()
    os.write(2, b"an error")
    assert capfd.readouterr().err == "an error"
