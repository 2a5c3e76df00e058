import os
import signal

import pytest

from safe_dnn.cli.terminal import stoppable, terminal_progress
from safe_dnn.support.progress import report_progress


def test_where_nobody_looks_progress_is_a_line_for_each_tenth_and_on_a_terminal_one_that_is_rewritten(
    capsys, monkeypatch
):
    for looks, lines in ((False, 11), (True, 0)):
        monkeypatch.setattr("sys.stderr.isatty", lambda looks=looks: looks)
        with terminal_progress():
            for i in range(101):
                report_progress("Reading", i, 100)
        text = capsys.readouterr().err
        assert text.count("\n") == lines
        assert text.endswith("\r\033[K" if looks else "Reading: 100 / 100\n")


def test_ctrl_c_stops_at_once_until_an_epoch_is_over_and_a_second_one_does_not_wait():
    before = signal.getsignal(signal.SIGINT)
    with stoppable() as training:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        training.on_epoch(("given", "first"), ())
        os.kill(os.getpid(), signal.SIGINT)
        assert training.should_stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
