import pytest

from safe_dnn.page.serving.connections import Outside, check_certificate, listen
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import closed_port
from tests.helpers.visiting import certificate


def test_an_address_that_cannot_be_used_is_found_out_before_the_server_starts():
    for host in ("x" * 300, "no such host", "256.1.1.1", "192.0.2.1"):
        with pytest.raises(SAFEError, match="Could not listen on"):
            listen(host, closed_port())
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "::1"):
        listen(host, closed_port()).close()


def test_a_certificate_that_cannot_be_used_is_a_sentence(tmp_path):
    good, key = certificate(tmp_path)
    check_certificate(Outside(certificate=good, key=key))
    (tmp_path / "other.pem").write_text("x")
    for pair in (
        (None, key), (good, None), (good, tmp_path / "gone.pem"), (good, tmp_path / "locked.pem"),
        (tmp_path / "other.pem", key),
    ):  # fmt: skip
        with pytest.raises(SAFEError, match=r"^Expected PEM files with a certificate .*\.pem.*\)\.$"):
            check_certificate(Outside(certificate=pair[0], key=pair[1]))
