"""The test kit for plugin authors: conformance suites and fakes."""
