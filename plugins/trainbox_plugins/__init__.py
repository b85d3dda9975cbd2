"""The plugins that ship with trainbox; each is found by its entry point, as a stranger's would be."""
