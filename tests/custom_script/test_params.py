"""What a custom script may ask for; each mistake is refused and says how to mend it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from trainbox_plugins.custom_script.environments import RUNTIMES
from trainbox_plugins.custom_script.params import CustomScriptParams
from trainbox_plugins.custom_script.plugin import CustomScript, Plugin
from trainbox_sdk.plans import plan_problems
from trainbox_sdk.testing.purity import outside_calls

SCRIPT = {"asset": "ast_1", "name": "train.py", "kind": "script"}
WISHES = {"asset": "ast_2", "name": "requirements.txt", "kind": "requirements"}
WEIGHTS = {"asset": "ast_3", "name": "start.bin", "kind": "weights"}
GOOD: dict[str, Any] = {"entry_point": "train.py", "assets": [SCRIPT, WISHES, WEIGHTS]}


def refusals(**changes: Any) -> list[tuple[tuple[Any, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        CustomScriptParams.model_validate({**GOOD, **changes})
    return [(each["loc"], each["msg"]) for each in caught.value.errors()]


def test_the_plan_is_one_untrusted_step_with_every_file() -> None:
    task = CustomScript()
    params = task.Params.model_validate({**GOOD, "runtime": "python3.12", "arguments": ["-x"]})
    with outside_calls() as calls:
        plan = task.plan(params, None)
    assert calls == []
    assert plan_problems(plan) == []
    (step,) = plan.steps
    assert not step.trusted
    assert step.environment == "python3.12"
    assert [(file.name, file.asset) for file in step.files] == [
        ("train.py", "ast_1"),
        ("requirements.txt", "ast_2"),
        ("start.bin", "ast_3"),
    ]
    assert step.requirements == ("requirements.txt",)
    (model,) = step.outputs
    assert (model.name, model.tree, model.required, model.check) == ("model", True, False, "onnx")
    assert "ast_1" not in str(step.params), "ids of assets are nothing the script should see"


def test_defaults_and_limits_are_the_documents() -> None:
    task = CustomScript()
    assert (task.resources.cpus, task.resources.memory_bytes) == (2, 8 * 1024**3)
    assert task.resources.timeout_s == 7200
    assert task.most is not None
    assert (task.most.cpus, task.most.memory_bytes) == (32, 128 * 1024**3)
    assert task.most.timeout_s == 86_400
    assert CustomScriptParams.model_validate(GOOD).runtime == "python3.11"
    assert [each.name for each in Plugin().register_environments()] == list(RUNTIMES)


@pytest.mark.parametrize(
    "name",
    [
        "DATASET_PATH", "MODEL_OUTPUT_PATH", "TRAINBOX_SPEC", "TRAINBOX_ANY", "PATH", "HOME", "TZ",
        "LANG", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHASHSEED", "LD_PRELOAD", "LD_AUDIT",
        "GCONV_PATH", "MALLOC_CHECK_", "GLIBC_TUNABLES", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS", "KUBEFLOW_TRAINER_SERVER_URL",
    ],
)  # fmt: skip
def test_reserved_names(name: str) -> None:
    ((loc, msg),) = refusals(environment_vars={name: "x"})
    assert loc[:2] == ("environment_vars", name)
    assert "choose another name" in msg


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A\0", "ÄÖ", "A" * 200])
def test_names_no_variable_has(name: str) -> None:
    ((loc, msg),) = refusals(environment_vars={name: "x"})
    assert "no name of a variable" in msg
    assert loc[0] == "environment_vars"


@pytest.mark.parametrize("value", [1, None, True, ["a"], "a\0b", "x" * 4097, "\ud800"])
def test_values_are_texts(value: object) -> None:
    ((loc, _),) = refusals(environment_vars={"A": value})
    assert loc[:2] == ("environment_vars", "A")


def test_variables_have_a_size() -> None:
    many = {f"V{n}": "x" * 4000 for n in range(9)}
    assert "larger than 32768 bytes" in refusals(environment_vars=many)[0][1]
    assert refusals(environment_vars={f"V{n}": "" for n in range(101)})


def test_ordinary_names_pass() -> None:
    names = ["LEARNING_RATE", "EPOCHS", "http_proxy", "PYTORCH_X", "_A", "Path", "OMPX"]
    good = {name: "" for name in names}
    assert CustomScriptParams.model_validate({**GOOD, "environment_vars": good})


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "../a", "a\0b", "a\nb", "a\x7f", "x" * 256, "\ud800"]
)
def test_names_of_files(name: str) -> None:
    assets = [SCRIPT, {**WEIGHTS, "name": name}]
    ((loc, msg),) = refusals(assets=assets)
    assert loc == ("assets", 1, "name")
    assert msg.startswith(("must ", "is not text"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"entry_point": "other.py"}, "is no script among the assets; scripts: train.py"),
        ({"entry_point": "requirements.txt"}, "is no script among the assets"),
        ({"assets": [WEIGHTS]}, "scripts: none"),
        ({"assets": [SCRIPT, {**WEIGHTS, "name": "train.py"}]}, "several assets are named"),
        ({"assets": []}, "at least 1 item"),
        ({"assets": [{**SCRIPT, "kind": "model"}]}, "Input should be 'script', 'weights'"),
        ({"assets": [{"asset": "ast_1", "name": "train.py"}]}, "Field required"),
        ({"runtime": "python3.9"}, "'python3.10', 'python3.11' or 'python3.12'"),
        ({"dataset_format": "xml"}, "'parquet', 'csv' or 'jsonl'"),
        ({"entrypoint": "x"}, "Extra inputs"),
        ({"arguments": "-x"}, "valid list"),
    ],
)
def test_other_mistakes(changes: dict[str, Any], words: str) -> None:
    assert words in refusals(**changes)[0][1]
