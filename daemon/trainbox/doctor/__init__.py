"""Looks at everything a daemon needs, tries what it promises, and says how to fix what is wrong."""

from trainbox.doctor.examination import examine
from trainbox.doctor.findings import Finding, Status

__all__ = ["Finding", "Status", "examine"]
