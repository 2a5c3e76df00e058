"""Who wrote `evidence.json`: a DSSE envelope, signed with Ed25519, on request.

The envelope (https://github.com/secure-systems-lab/dsse, protocol v1) holds the bytes of `evidence.json` and a
signature of them. The packages that sign are optional.
"""

import base64
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safe_dnn.pipeline.reporting.evidence.statement import EVIDENCE_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED, prepare_folder, regular
from safe_dnn.support.version import install

ENVELOPE_FILE = "evidence.dsse.json"
PRIVATE_KEY_FILE = "safe-signing.key"
PUBLIC_KEY_FILE = "safe-signing.pub"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Write a new private key, which only its owner can read, and its public key; both as PEM.

    Raises
    ------
    SAFEError
        There is a key already, or they cannot be written, or a package is missing.
    """
    private, public = (prepare_folder(folder) / name for name in (PRIVATE_KEY_FILE, PUBLIC_KEY_FILE))
    with _explained(folder, "a folder without keys, which are never replaced"):
        from cryptography.hazmat.primitives import serialization as how
        from securesystemslib.signer import CryptoSigner

        if os.path.lexists(private) or os.path.lexists(public):
            raise FileExistsError(f"it has {private.name} or {public.name}; use another one")
        secret = CryptoSigner.generate_ed25519().private_bytes
        known = how.load_pem_private_key(secret, None).public_key()
        pem = known.public_bytes(how.Encoding.PEM, how.PublicFormat.SubjectPublicKeyInfo)
        for path, data, mode in ((private, secret, 0o600), (public, pem, 0o644)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
    return private, public


def signer_of(private: Path) -> Any:
    """What signs with a private key; a SAFEError if it is no such key, or a package is missing."""
    with _explained(private, "a private key (PEM, without a password), which the command keys makes"):
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner

        return CryptoSigner(load_pem_private_key(regular(private).read_bytes(), None))


def envelope_text(statement: str, signer: Any) -> str:
    """The content of `evidence.dsse.json`."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(statement.encode(), _PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), indent=2) + "\n"


def fault_of_signature(folder: Path, key: Path | None) -> str:
    """What is wrong with the envelope; empty if nothing is. Without a public key, who signed it is not looked at.

    Raises
    ------
    SAFEError
        The key is no public key, or a package is missing.
    """
    public, file = _public_key(key) if key else None, folder / ENVELOPE_FILE
    if not file.is_file():
        return "is missing: nobody signed" if key else ""
    try:
        record = json.loads(regular(file).read_bytes())
        if base64.b64decode(record["payload"]) != (folder / EVIDENCE_FILE).read_bytes():
            return f"signs another {EVIDENCE_FILE}"
        return _fault_of(record, public) if public else ""
    except DAMAGED as error:
        return f"is damaged ({error})"


def _fault_of(record: dict[str, Any], public: Any) -> str:
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error

    with contextlib.suppress(Error):
        envelope = Envelope.from_dict(record)
        if envelope.verify([public], 1) and envelope.payload_type == _PAYLOAD_TYPE:
            return ""
    return "is not signed by this key"


def _public_key(file: Path) -> Any:
    with _explained(file, f"a public key (PEM), such as {PUBLIC_KEY_FILE}"):
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
        from securesystemslib.signer import SSlibKey

        return SSlibKey.from_crypto(load_pem_public_key(regular(file).read_bytes()))


@contextlib.contextmanager
def _explained(path: Path, expected: str) -> Iterator[None]:
    """Say in a sentence what is wrong with a key, or that packages are missing."""
    try:
        yield
    except ImportError as error:
        missing = f"Signatures need packages that are not installed. Run: {install('signing')}"
        raise SAFEError(missing) from error
    except DAMAGED as error:
        raise SAFEError(f"Expected {expected}. Received: {path} ({error}).") from error
