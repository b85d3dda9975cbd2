"""Datasets between their arrival and their end: filed, resumed, imported, looked at."""

from trainbox.datasets.filing import DatasetFiler
from trainbox.datasets.imports import ImportRoots
from trainbox.datasets.rows import RowReader
from trainbox.datasets.uploads import Uploads

__all__ = ["DatasetFiler", "ImportRoots", "RowReader", "Uploads"]
