"""``/v1/tokens`` and ``/v1/audit``."""
