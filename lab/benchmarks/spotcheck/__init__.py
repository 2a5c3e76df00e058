"""SpotCheck: are blind spots discovered that a network was taught? `tables` takes ready-made tables of answers."""
