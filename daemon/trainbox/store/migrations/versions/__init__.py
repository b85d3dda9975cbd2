"""One file per schema; a released one never changes."""
