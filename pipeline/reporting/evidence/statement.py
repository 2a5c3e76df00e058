"""`evidence.json`: what it says, how it is read, and who wrote it.

It is an in-toto Statement (https://github.com/in-toto/attestation, spec v1). Its subjects are the results at the top of
the output folder; its predicate is what they rest on. Nothing of it is trusted: what SAFE would not write is refused,
such as a subject that lies elsewhere.

On request it is signed with Ed25519: a DSSE envelope (https://github.com/secure-systems-lab/dsse, protocol v1) holds
its bytes and a signature of them. The packages that sign are optional.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from store.entries import digests_of
from support.errors import SAFEError
from support.files import DAMAGED, intact, prepare_folder, read_json, regular

EVIDENCE_FILE = "evidence.json"
LISTS_FOLDER = "evidence"
"""With a list for each set of images, as of sha256sum: digest, two blanks, path in the folder of the set."""

# As the modules that write them name them; a test compares.
RESULTS = (
    "labels.txt", "register.csv", "scope.csv", "rcc_profiles.csv", "rcc_rates.csv", "weak_spots.csv",
    "tested_images.csv", "confirmation.csv", "closure.csv", "fresh_images.csv", "probes.csv", "IS_filenames.txt",
    "unsafe_set.csv", "unsafe_images.csv", "retrained.keras", "retraining.json", "report.html", "export.zip",
    "failures.csv", "predictions.csv", "accuracy.json", "objects.csv", "parameters.csv", "gifs/RCC_*.gif",
    "gifs/noise.gif", "gifs/weak_spot_*.gif",
    "heatmaps/heatmaps.json", "heatmaps/RCC_*.png", "heatmaps/weak_spot_*.png",
)  # fmt: skip
_TYPE, _KIND, _VERSION = "https://in-toto.io/Statement/v1", "urn:safe-dnn:evidence", 1


class Evidence(NamedTuple):
    """What `evidence.json` says; digests are SHA-256 in hexadecimal.

    Attributes
    ----------
    subjects : dict of str to str
        The digests of the results, by path in the analysis.
    files : dict of str to str
        Of all other files, by place as `store.places` records it: of runs, lists, models, weights and tables.
    sets : dict of str to str
        The folders of the sets of images, likewise, by the path of the list.
    last : tuple of int and str
        Number and digest of the last entry.
    basis : str
        The digest of the predicate.
    """

    subjects: dict[str, str]
    files: dict[str, str]
    sets: dict[str, str]
    last: tuple[int, str]
    basis: str


def statement_text(subjects: Mapping[str, str], predicate: Mapping[str, Any]) -> str:
    """The content of `evidence.json`."""
    named = [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()]
    kind = f"{_KIND}:{_VERSION}"
    return (
        json.dumps({"_type": _TYPE, "subject": named, "predicateType": kind, "predicate": predicate}, indent=2) + "\n"
    )


def digest_of_predicate(predicate: Mapping[str, Any]) -> str:
    """The SHA-256 of a predicate as JSON in ASCII, with sorted keys and without blanks: the report names it."""
    return hashlib.sha256(json.dumps(predicate, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_evidence(folder: Path) -> Evidence:
    """Read `evidence.json`.

    Raises
    ------
    SAFEError
        There is none, or it is damaged, of a newer version or not SAFE's.
    """
    file, again = folder / EVIDENCE_FILE, f"python SAFE_Tool.py evidence --out {folder}"
    if not file.is_file():
        raise SAFEError(
            f"Expected {file}. Received an analysis without evidence: nothing says what it was. Run: {again}"
        )
    with intact(file, f"Put back a copy, or write it anew: {again}"):
        statement = read_json(file)
        kind, _, version = statement["predicateType"].rpartition(":")
        if (statement["_type"], kind) != (_TYPE, _KIND):
            raise ValueError("it is about something else")
        if int(version) == _VERSION:
            return _evidence_from(statement["subject"], statement["predicate"])
    raise SAFEError(f"{file} has version {version}; this SAFE reads version {_VERSION}. Use a newer SAFE.")


def _evidence_from(subjects: list[dict[str, Any]], predicate: dict[str, Any]) -> Evidence:
    """One of DAMAGED if anything is invalid."""
    found = {subject["name"]: subject["digest"]["sha256"] for subject in subjects}
    files, sets, last = predicate["files"], predicate["images"], predicate["journal"]
    roots = {f"{LISTS_FOLDER}/{name}.sha256": str(one["root"]) for name, one in sets.items()}
    for path in (*found, *roots):
        if not path or path.startswith("/") or set(path) & set("\0\\") or ".." in path.split("/"):
            raise ValueError(f"the path {path!r} leads out of the analysis")
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in (*found.values(), *files.values())):
        raise ValueError("a digest is invalid")
    if roots.keys() - files.keys() or "\0" in "".join((*files, *roots.values())):
        raise ValueError("a list of images is invalid")
    return Evidence(
        found, dict(files), roots, (int(last["number"]), str(last["sha256"])), digest_of_predicate(predicate)
    )


def present_basis(folder: Path) -> str:
    """The digest of the predicate if the evidence is about the present entries; otherwise empty."""
    try:
        evidence = read_evidence(folder)
    except SAFEError:
        return ""
    return evidence.basis if evidence.last == last_of(digests_of(folder)) else ""


def last_of(digests: dict[int, str]) -> tuple[int, str]:
    """Number and digest of the last entry."""
    return next(reversed(digests.items()), (0, ""))


def results_in(folder: Path) -> list[str]:
    """The results that there are in an output folder, sorted."""
    found = (path for pattern in RESULTS for path in folder.glob(pattern) if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


# --- The signature --------------------------------------------------------------------------------------------------


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
        missing = "Signatures need packages that are not installed. Run: pip install -r requirements/signing.txt"
        raise SAFEError(missing) from error
    except DAMAGED as error:
        raise SAFEError(f"Expected {expected}. Received: {path} ({error}).") from error
