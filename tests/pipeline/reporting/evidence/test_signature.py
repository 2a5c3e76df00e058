"""Keys, and what is signed with them."""

import json
import sys

import pytest

from safe_dnn.pipeline.reporting.evidence.basis import SIGNED, verify, write_evidence
from safe_dnn.pipeline.reporting.evidence.signature import ENVELOPE_FILE, make_keys
from safe_dnn.pipeline.reporting.evidence.statement import EVIDENCE_FILE
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.support.errors import SAFEError
from tests.helpers.attested import found


@pytest.fixture
def keys(tmp_path):
    pytest.importorskip("securesystemslib", reason="see requirements/signing.txt")
    return make_keys(tmp_path / "keys")


def test_keys_are_private_and_never_replaced(keys):
    private, public = keys
    assert private.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    private.unlink()
    with pytest.raises(SAFEError, match="never replaced"):
        make_keys(public.parent)


def test_a_signature_holds_for_its_evidence_and_its_key_alone(out, keys, tmp_path):
    private, public = keys
    write_evidence(out, sign=private)
    assert found(out, key=public) == found(out) == []
    envelope = (out / ENVELOPE_FILE).read_bytes()
    _, other = make_keys(tmp_path / "others")
    assert found(out, key=other) == [(SIGNED, f"{ENVELOPE_FILE} is not signed by this key")]

    write_evidence(out)  # the same
    assert (out / ENVELOPE_FILE).read_bytes() == envelope
    record = json.loads(envelope)
    record["signatures"][0]["sig"] = "A" * 86 + "=="
    (out / ENVELOPE_FILE).write_text(json.dumps(record))
    assert found(out, key=public) == [(SIGNED, f"{ENVELOPE_FILE} is not signed by this key")]
    (out / ENVELOPE_FILE).write_bytes(envelope[:-30])
    assert found(out)[0][0] == SIGNED

    (out / ENVELOPE_FILE).write_bytes(envelope)
    (out / EVIDENCE_FILE).write_text((out / EVIDENCE_FILE).read_text() + " ")
    assert found(out) == [(SIGNED, f"{ENVELOPE_FILE} signs another {EVIDENCE_FILE}")]
    set_note(out, Note(0, "dusk", "", "unsafe"))
    write_evidence(out)
    assert not (out / ENVELOPE_FILE).exists()
    assert found(out, key=public) == [(SIGNED, f"{ENVELOPE_FILE} is missing: nobody signed")]


def test_a_file_that_is_no_key_is_refused(out, keys):
    private, public = keys
    for wrong in (public, out, out / "labels.txt"):
        with pytest.raises(SAFEError, match="private key"):
            write_evidence(out, sign=wrong)
    with pytest.raises(SAFEError, match="public key"):
        verify(out, key=private)


def test_without_the_packages_that_sign_the_error_says_what_to_install(out, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "securesystemslib.signer", None)
    for sign in (
        lambda: make_keys(tmp_path / "keys"),
        lambda: write_evidence(out, sign=out),
        lambda: verify(out, key=out),
    ):
        with pytest.raises(SAFEError, match=r"pip install -r requirements/signing.txt"):
            sign()
    assert not any((tmp_path / "keys").iterdir())
