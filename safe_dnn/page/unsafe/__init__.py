"""The tab Unsafe set."""
