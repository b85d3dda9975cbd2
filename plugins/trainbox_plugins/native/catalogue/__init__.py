"""``/v1/catalogue``."""
