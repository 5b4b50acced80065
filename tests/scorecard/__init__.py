"""The reliability scorecard: what is promised is broken on purpose, and counted."""
