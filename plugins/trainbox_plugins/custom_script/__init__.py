"""A user's own training script, in a sandbox, as a task type."""
