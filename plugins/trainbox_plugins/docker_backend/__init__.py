"""Run steps in locked-down containers of a local Docker Engine."""
