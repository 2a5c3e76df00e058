"""What is kept of an analysis: what people say in one database, and what was computed in folders that never change."""
