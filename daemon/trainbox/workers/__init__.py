"""Programs that look at hostile bytes, each in a confined process of its own.

``*_worker`` are the programs; ``launch`` and ``frames`` are what the daemon holds of them. A worker
is never imported by the daemon: it imports DuckDB or onnxruntime, and takes rights from itself.
"""
