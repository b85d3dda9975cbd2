"""Media types that schemathesis does not know how to write; it loads this file itself."""

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def octets(context, value):
    """Bytes as they are; whatever else was thought of, as text."""
    return value if isinstance(value, bytes) else str(value).encode()
