"""Bundled plugins: surfaces, task types, backends. They see the SDK only, never the daemon."""
