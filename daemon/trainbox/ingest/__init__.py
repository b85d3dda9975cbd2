"""Uploads in, typed Parquet out: streamed aside, read in a confined process, checked, published."""

from trainbox.ingest.limits import IngestLimits
from trainbox.ingest.service import Ingest, IngestedData

__all__ = ["Ingest", "IngestLimits", "IngestedData"]
