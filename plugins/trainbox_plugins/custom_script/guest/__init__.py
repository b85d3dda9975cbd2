"""Runs a user's script inside the sandbox; standard library, but for converting a dataset."""
