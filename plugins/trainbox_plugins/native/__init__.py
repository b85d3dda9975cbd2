"""Our own HTTP dialect: ``/v1``."""
