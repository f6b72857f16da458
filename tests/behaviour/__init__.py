"""What a model for clinical notes must do, snippet by snippet; see docs/behaviour.md."""
