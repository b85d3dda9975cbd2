"""Refusals that no schema can foresee: of well-formed values that mean nothing here.

schemathesis holds "what fits the schema is accepted" against every operation. For those below, the
status may also be the one named, for the reason given; a wrong *form* is still caught by the other
checks.
"""

CURSOR = "a cursor is good for the listing that gave it"

SEMANTIC = {
    "createJob": ((422,), "task, data set and parameters are checked against one another"),
    "compareJobs": ((422,), "a comparison needs several jobs"),
    "createDataset": ((400, 415, 422), "the bytes must be a table"),
    "createAsset": (
        (415, 422),
        "the file must have bytes, which are no form, and a name that fits",
    ),
    "importDataset": ((415, 422), "the path must lie in an allowed folder"),
    "createUpload": ((415, 422), "the metadata must say what it is, and the size must be allowed"),
    "appendUpload": ((415,), "a chunk of no bytes comes without its content type"),
    "describeDataset": ((422,), "labels have short names"),
    "getDatasetProfile": ((422,), "the target must be one of the columns"),
    "predict": ((422,), "rows must fit the model's signature"),
    "infer": ((400,), "tensors must fit the model's signature"),
    "inferVersion": ((400,), "tensors must fit the model's signature"),
    "createToken": ((422,), "names are printable in the sense of Unicode"),
    "createWebhook": ((422,), "the URL must be one that may be called"),
    "changeWebhook": ((422,), "the URL must be one that may be called"),
}

TRASHABLE = r"^/v1/(datasets|models)/"
"""Where DELETE is a move to the trash: what is there is still shown, with ``trashed_at``, so
that it can be restored. schemathesis takes every DELETE for the end of a thing."""

MISSING = {
    "createUpload": ((412,), "tus 1.0 answers 412 to a version it does not speak"),
    "getUploadOffset": ((412,), "tus 1.0 answers 412 to a version it does not speak"),
    "appendUpload": ((412,), "tus 1.0 answers 412 to a version it does not speak"),
    "terminateUpload": ((412,), "tus 1.0 answers 412 to a version it does not speak"),
}
"""Operations whose refusal of a missing header has a status that schemathesis does not expect."""


def semantic(operation):
    """Return the statuses that depend on more than the form of what was sent."""
    found = []
    if any(one["name"] == "after" for one in operation.get("parameters", ())):
        found.append(422)  # see CURSOR
    if operation["operationId"] in SEMANTIC:
        found.extend(SEMANTIC[operation["operationId"]][0])
    return sorted(set(found))
