"""Several teachers made one, and who taught what."""
