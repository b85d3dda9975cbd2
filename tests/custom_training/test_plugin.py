"""Turning the dialect on: with a key that is fit, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import ValidationError

from trainbox_plugins.custom_training.config import Config
from trainbox_plugins.custom_training.keys import BadKey, read_keys
from trainbox_plugins.custom_training.plugin import Plugin

from . import tokens


def pem(key, *, private: bool = False) -> bytes:
    if private:
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def put(path, data: bytes, mode: int = 0o600):
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_without_a_key_it_is_off_and_says_so(caplog):
    caplog.set_level("INFO")
    assert Plugin(Config()).register_surfaces() == []
    assert Plugin().register_surfaces() == []
    assert "it has no key" in caplog.text


def test_off_it_loads_no_cryptography():
    code = (
        "import sys; from trainbox_plugins.custom_training.plugin import Plugin; Plugin();"
        "sys.exit('jwt' in sys.modules or 'cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_with_a_key_it_brings_one_surface(tmp_path):
    config = Config(key_file=tokens.write_secret(tmp_path), algorithm="HS256")
    assert [each.name for each in Plugin(config).register_surfaces()] == ["custom_training"]


@pytest.mark.parametrize(
    "given",
    [
        {"key_file": "k"},
        {"algorithm": "HS256"},
        {"key_file": "k", "algorithm": "HS256", "jwks_file": "j"},
        {"key_file": "k", "algorithm": "none"},
        {"key_file": "k", "algorithm": "HS512"},
        {"jwks_file": "j", "algorithm": "RS256"},
        {"secret": "x"},
    ],
    ids=lambda given: "-".join(given),
)
def test_half_a_configuration_is_refused(given):
    with pytest.raises(ValidationError):
        Config(**given)


@pytest.mark.parametrize(
    ("secret", "mode", "why"),
    [
        (b"short", 0o600, "can be guessed"),
        (b"a" * 64, 0o600, "can be guessed"),
        (b"abc" * 20, 0o600, "can be guessed"),
        (tokens.SECRET.encode(), 0o644, "open to all users"),
        (b"-----BEGIN PUBLIC KEY-----\nMIIB\n", 0o600, "of another kind"),
    ],
    ids=["short", "one letter", "few letters", "readable", "public key"],
)
def test_a_secret_that_is_none_is_refused_and_never_shown(tmp_path, secret, mode, why):
    path = put(tmp_path / "secret", secret, mode)
    with pytest.raises(BadKey, match=why) as caught:
        read_keys(Config(key_file=path, algorithm="HS256"))
    assert secret.decode() not in str(caught.value)


def test_a_key_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadKey, match="absent: No such file"):
        read_keys(Config(key_file=tmp_path / "absent", algorithm="HS256"))


RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("algorithm", "data", "why"),
    [
        ("RS256", pem(RSA_KEY, private=True), "private key"),
        ("RS256", pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        ("RS256", pem(ED_KEY), "not for RS256"),
        ("EdDSA", pem(RSA_KEY), "not for EdDSA"),
        ("EdDSA", pem(ec.generate_private_key(ec.SECP256R1())), "not for EdDSA"),
        ("RS256", b"no pem", "no public key"),
    ],
    ids=["private", "weak", "ed for rsa", "rsa for ed", "ec", "no pem"],
)
def test_a_public_key_that_is_not_fit_is_refused(tmp_path, algorithm, data, why):
    path = put(tmp_path / "key.pem", data)
    with pytest.raises(BadKey, match=why):
        read_keys(Config(key_file=path, algorithm=algorithm))


def jwk(key, **more):
    made = (
        jwt.algorithms.RSAAlgorithm
        if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey)
        else jwt.algorithms.OKPAlgorithm
    )
    return {**json.loads(made.to_jwk(key)), **more}


def keys_of(tmp_path, *listed):
    path = put(tmp_path / "jwks.json", json.dumps({"keys": listed}).encode())
    return read_keys(Config(jwks_file=path))


def test_a_set_gives_each_key_the_algorithm_of_its_kind(tmp_path):
    found = keys_of(
        tmp_path,
        jwk(RSA_KEY.public_key(), kid="a", use="sig"),
        jwk(ED_KEY.public_key(), kid="b", alg="EdDSA"),
        jwk(RSA_KEY.public_key(), kid="c", use="enc"),
    )
    assert [(key.kid, key.algorithm) for key in found] == [("a", "RS256"), ("b", "EdDSA")]
    assert "PublicKey" not in repr(found)


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ([], "no key for signatures"),
        ([{"kty": "RSA"}], "cannot be read"),
        ([{"kty": "EC", "kid": "a"}], "only HS256"),
        ([jwk(RSA_KEY.public_key(), alg="HS256")], "only HS256"),
        ([jwk(RSA_KEY.public_key()), jwk(RSA_KEY.public_key())], "kid of its own"),
        ([jwk(RSA_KEY.public_key(), kid="a"), jwk(ED_KEY.public_key(), kid="a")], "kid of its own"),
        ([jwk(ED_KEY, kid="a")], "is private"),
        ([{"kty": "oct", "k": "c2hvcnQ", "kid": "a"}], "can be guessed"),
        ([7], "no JSON Web Key Set"),
    ],
    ids=["empty", "half", "ec", "confused", "no kid", "same kid", "private", "weak", "number"],
)
def test_a_set_that_is_not_fit_is_refused(tmp_path, listed, why):
    with pytest.raises(BadKey, match=why):
        keys_of(tmp_path, *listed)
