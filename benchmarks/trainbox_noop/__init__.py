"""A task that does nothing, to time everything around it."""
