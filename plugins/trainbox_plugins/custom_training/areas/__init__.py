"""The parts of the dialect, each with its routes and handlers."""
