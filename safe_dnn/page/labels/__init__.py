"""The tab Labels."""
