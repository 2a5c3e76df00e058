"""The version of SAFE: what `--version` and `run.json` say. CHANGELOG.md and CITATION.cff agree with it."""

VERSION = "2.8.1"
