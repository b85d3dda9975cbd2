"""A logistic regression as an ONNX file, written with nothing but the standard library and numpy.

The message formats are those of onnx.proto3; field numbers stand where they are used.
"""

import numpy as np

FLOAT, INT64, STRING = 1, 7, 8


def logistic(features, weights, bias, classes):
    """Return a model with one input of shape [N, 1] for each feature.

    It gives ``prediction``, ``probabilities`` and ``classes``.
    """
    nodes = [
        node("Concat", features, ["x"], axis=1),
        node("Gemm", ["x", "w", "b"], ["z"]),
        node("Sigmoid", ["z"], ["p"]),
        node("Sub", ["one", "p"], ["q"]),
        node("Concat", ["q", "p"], ["probabilities"], axis=1),
        node("ArgMax", ["probabilities"], ["best"], axis=1, keepdims=0),
        node("Gather", ["labels", "best"], ["prediction"]),
        node("Identity", ["labels"], ["classes"]),
    ]
    tensors = [
        numbers("w", np.asarray(weights, np.float32).reshape(-1, 1)),
        numbers("b", np.asarray([bias], np.float32)),
        numbers("one", np.asarray([1.0], np.float32)),
        texts("labels", [str(each) for each in classes]),
    ]
    inputs = [value(name, FLOAT, ["N", 1]) for name in features]
    outputs = [
        value("prediction", STRING, ["N"]),
        value("probabilities", FLOAT, ["N", 2]),
        value("classes", STRING, [2]),
    ]
    graph = b"".join(
        [
            *(field(1, each) for each in nodes),
            field(2, "logistic"),
            *(field(5, each) for each in tensors),
            *(field(11, each) for each in inputs),
            *(field(12, each) for each in outputs),
        ]
    )
    opset = field(1, "") + field(2, 17)
    return field(1, 8) + field(7, graph) + field(8, opset)


def node(kind, inputs, outputs, **attributes):
    """Return a NodeProto."""
    body = b"".join(field(1, name) for name in inputs)
    body += b"".join(field(2, name) for name in outputs) + field(4, kind)
    for name, number in attributes.items():
        body += field(5, field(1, name) + field(3, number) + field(20, 2))  # 2: an integer
    return body


def numbers(name, array):
    """Return a TensorProto of floats."""
    shape = b"".join(field(1, size) for size in array.shape)
    return shape + field(2, FLOAT) + field(8, name) + field(9, array.tobytes())


def texts(name, values):
    """Return a TensorProto of texts."""
    body = field(1, len(values)) + field(2, STRING)
    return body + b"".join(field(6, each) for each in values) + field(8, name)


def value(name, kind, shape):
    """Return a ValueInfoProto; a size may be a name."""
    sizes = b"".join(
        field(1, field(2, size) if isinstance(size, str) else field(1, size)) for size in shape
    )
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, sizes)))


def field(number, content):
    """Return one field: an integer as a varint, bytes and text with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    raw = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def varint(number):
    """Return a number as protobuf writes it: seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
