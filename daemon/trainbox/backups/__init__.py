"""Backups of a whole state directory: database and files; checked, restored, compared.

A backup is a directory that can be looked at with ordinary tools::

    trainbox-20261121T120000Z/
      manifest.json      what this is; its name appears last, so a backup that has it is whole
      trainbox.db        the database, copied while the daemon goes on
      audit-anchors.jsonl  noted heads of the audit log, if there are any
      blobs/ab/cdef…     every file a row of that database needs, by content hash

The database is copied first and the files after it: files never change, so whatever the copy refers
to is there, unless a purge took it meanwhile; then the copy is made again. A backup beside an older
one of the same directory shares the files both have (hard links), so that each costs what is new.
"""

from trainbox.backups.checking import Checked, check
from trainbox.backups.making import FilePurged, back_up
from trainbox.backups.manifest import Manifest, backups_in, read_manifest
from trainbox.backups.restoring import restore

__all__ = [
    "Checked",
    "FilePurged",
    "Manifest",
    "back_up",
    "backups_in",
    "check",
    "read_manifest",
    "restore",
]
