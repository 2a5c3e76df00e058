"""What the results of an analysis rest on, by SHA-256: `evidence.json` is written and verified."""
