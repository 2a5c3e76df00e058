"""The engineer's names, notes, verdicts and edits of RCCs, and their notes on weak spots (step 2)."""
