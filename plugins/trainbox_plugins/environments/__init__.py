"""Environments as data: wheels by hash, and what image and venv builders share. No plugin."""
