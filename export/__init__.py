"""The export side: a student becomes a quantised, verified bundle, and is judged."""
