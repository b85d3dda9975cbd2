"""The blocking tritonclient against a daemon: ``blocking_client.py PORT TOKEN``."""

import sys

import numpy as np
from tritonclient import http
from tritonclient.utils import InferenceServerException


def tensor(name, values, datatype, *, binary):
    made = http.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def main(port: str, token: str) -> None:
    # A copy for each call: this client leaves its own headers of one request in the dictionary.
    headers = {"Authorization": f"Bearer {token}"}
    client = http.InferenceServerClient(f"127.0.0.1:{port}", concurrency=8)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("churn", headers=dict(headers))
    assert client.get_model_metadata("churn", headers=dict(headers))["versions"] == ["2"]
    ages = np.array([[1], [2]], np.float32)
    cities = np.array([["Paris"], ["ø"]], np.object_)
    for binary in (True, False):
        inputs = [
            tensor("age", ages, "FP32", binary=binary),
            tensor("city", cities, "BYTES", binary=binary),
        ]
        for wanted in (None, [http.InferRequestedOutput("score", binary_data=binary)]):
            result = client.infer("churn", inputs, outputs=wanted, headers=dict(headers))
            assert result.as_numpy("score").tolist() == [[12.0], [-96.0]]
    pending = [client.async_infer("churn", inputs, headers=dict(headers)) for _ in range(32)]
    for each in pending:
        assert each.get_result().as_numpy("score").tolist() == [[12.0], [-96.0]]
    for algorithm in ("gzip", "deflate"):
        result = client.infer(
            "churn", inputs, headers=dict(headers), request_compression_algorithm=algorithm
        )
        assert result.as_numpy("score").tolist() == [[12.0], [-96.0]]
    try:
        client.infer("churn", inputs[:1], headers=dict(headers))
    except InferenceServerException as error:
        assert error.status() == "400"
        assert "input 'city' is missing" in error.message()
    else:
        raise AssertionError("a missing input was taken")
    assert not client.is_model_ready("nobody", headers=dict(headers))
    client.close()
    print("all answered")


if __name__ == "__main__":
    main(*sys.argv[1:])
