"""The process backend: steps as confined processes of this host."""
