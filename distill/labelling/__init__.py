"""Teachers put to work on notes."""
