"""Language models as teachers."""
