"""Steps from schema to schema, run by :mod:`trainbox.store.migrate` and by nothing else."""
