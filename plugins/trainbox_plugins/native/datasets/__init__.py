"""``/v1/datasets``."""
