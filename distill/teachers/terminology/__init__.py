"""Terminologies as teachers: their names, found in a note."""
