"""The check every ONNX artifact passes in a second locked sandbox."""
