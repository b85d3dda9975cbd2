"""The engine decides: it treats parameters, handles and wire words as opaque."""
