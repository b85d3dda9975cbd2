"""Fails on import, as a plugin does whose own dependency is not there."""

raise ImportError("libbroken.so.1: cannot open shared object file: No such file or directory")
