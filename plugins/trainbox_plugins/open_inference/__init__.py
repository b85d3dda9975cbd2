"""The Open Inference Protocol v2 over the engine's models."""
