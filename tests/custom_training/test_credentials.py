"""Tokens: which ones open the door. Every refusal is 401 and quotes nothing of the token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from trainbox_plugins.custom_training.config import Config
from trainbox_plugins.custom_training.credentials import Doorman
from trainbox_sdk.errors import Forbidden, Unauthenticated

from . import tokens

RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def public(key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def made(tmp_path, key: bytes, algorithm: str, **more) -> Doorman:
    path = tmp_path / "key"
    path.write_bytes(key)
    path.chmod(0o600)
    facts = {"issuer": tokens.ISSUER, "audience": tokens.AUDIENCE, **more}
    return Doorman(Config(key_file=path, algorithm=algorithm, **facts))


@pytest.fixture
def hs(tmp_path):
    return made(tmp_path, tokens.SECRET.encode(), "HS256")


@pytest.fixture
def rs(tmp_path):
    return made(tmp_path, public(RSA_KEY), "RS256")


def part(document) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header, claims=None, secret: bytes = tokens.SECRET.encode()) -> str:
    """A token as no library would make it."""
    signed = f"{part(header)}.{part(claims if claims is not None else tokens.claims())}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{part(mac)}"


def refused(doorman, token, says="") -> None:
    with pytest.raises(Unauthenticated) as caught:
        doorman.read(token)
    assert says in caught.value.message
    assert not (len(token) > 8 and token in caught.value.message)


# --- good ones


def test_the_organisation_owns_and_the_person_acts(hs):
    caller = hs.read(tokens.token())
    assert (caller.who.id, caller.who.user, caller.who.actor) == (
        tokens.ORGANISATION,
        "ada@example.test",
        "ada@example.test",
    )
    assert caller.who.scopes == {"submit", "read", "predict"}
    assert caller.who.token_id.startswith("jwt:")


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_signatures_of_public_keys(tmp_path, algorithm):
    key = RSA_KEY if algorithm == "RS256" else ED_KEY
    doorman = made(tmp_path, public(key), algorithm)
    assert doorman.read(tokens.token(key, algorithm)).who.id == tokens.ORGANISATION
    assert doorman.read(tokens.token(key, algorithm, headers={"kid": "any"}))


def test_keys_of_a_set_are_chosen_by_kid(tmp_path):
    listed = [
        {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key())), "kid": "a"},
        {**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(ED_KEY.public_key())), "kid": "b"},
    ]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": listed}))
    doorman = Doorman(Config(jwks_file=path, audience=tokens.AUDIENCE))
    assert doorman.read(tokens.token(RSA_KEY, "RS256", headers={"kid": "a"}))
    assert doorman.read(tokens.token(ED_KEY, "EdDSA", headers={"kid": "b"}))
    for kid in ("b", "c", "../../etc/passwd", "a' OR 1=1", "", None):
        refused(doorman, tokens.token(RSA_KEY, "RS256", headers={"kid": kid} if kid else None))
    refused(doorman, tokens.token(ED_KEY, "EdDSA", headers={"kid": "a"}))


def test_permissions_come_as_a_list_or_as_words(hs):
    assert hs.read(tokens.token(permissions="model:read model:train")).permissions == {
        "model:read",
        "model:train",
    }
    caller = hs.read(tokens.token(permissions=["model:read"]))
    caller.require("model:read")
    for lacking in ("model:train", "dataset:read"):
        with pytest.raises(Forbidden, match=lacking):
            caller.require(lacking)
    assert hs.read(tokens.token(permissions=None)).permissions == frozenset()


@pytest.mark.parametrize("all_of_it", ["*", "model:*"])
def test_a_star_stands_for_all(hs, all_of_it):
    hs.read(tokens.token(permissions=[all_of_it])).require("model:promote")


def test_claims_can_have_other_names(tmp_path):
    doorman = made(
        tmp_path,
        tokens.SECRET.encode(),
        "HS256",
        organisation_claim="https://example.test/tenant",
        user_claim="email",
        permissions_claim="scope",
    )
    more = {"https://example.test/tenant": "acme", "email": "ada", "scope": "model:read"}
    caller = doorman.read(tokens.token(**more))
    assert (caller.who.id, caller.who.user, caller.permissions) == ("acme", "ada", {"model:read"})


def test_clocks_may_differ_a_little(hs):
    assert hs.read(tokens.token(exp=int(time.time()) - 10, nbf=int(time.time()) + 10))


# --- bad ones


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": NOW - 3600}, "expired"),
        ({"exp": None}, "lacks the claim 'exp'"),
        ({"exp": "soon"}, ""),
        ({"exp": [NOW + 600]}, ""),
        ({"nbf": NOW + 3600}, "not valid yet"),
        ({"nbf": "x"}, ""),
        ({"iat": NOW + 3600}, "not valid yet"),
        ({"aud": "another"}, "another audience"),
        ({"aud": None}, "lacks the claim 'aud'"),
        ({"aud": 7}, ""),
        ({"iss": "https://evil.example/"}, "another issuer"),
        ({"iss": None}, "lacks the claim 'iss'"),
        ({"org_id": None}, "lacks the claim 'org_id'"),
        ({"org_id": ""}, "names nobody"),
        ({"org_id": 7}, "names nobody"),
        ({"org_id": "a\nb"}, "names nobody"),
        ({"org_id": "acme\0"}, "names nobody"),
        ({"org_id": "acme\x85"}, "names nobody"),
        ({"org_id": "acme\u2029"}, "names nobody"),
        ({"org_id": "\ud800"}, "names nobody"),
        ({"org_id": "a\udfffb"}, "names nobody"),
        ({"sub": "ada\x1b"}, "names nobody"),
        ({"sub": "ada\x7f"}, "names nobody"),
        ({"sub": "ada\ud800"}, "names nobody"),
        ({"exp": str(NOW + 600)}, "cannot be verified"),
        ({"exp": 1e30}, "cannot be verified"),
        ({"exp": True}, ""),
        ({"nbf": str(NOW - 600)}, "cannot be verified"),
        ({"iat": str(NOW - 600)}, "cannot be verified"),
        ({"org_id": "daemon"}, "names nobody"),
        ({"org_id": "custom_training"}, "names nobody"),
        ({"org_id": " acme"}, "names nobody"),
        ({"org_id": "x" * 300}, "names nobody"),
        ({"sub": "daemon"}, "names nobody"),
        ({"sub": None}, "lacks the claim 'sub'"),
        ({"permissions": [1]}, "no list of words"),
        ({"permissions": {"model:*": True}}, "no list of words"),
    ],
)
def test_claims_that_are_not_good(hs, claims, says):
    refused(hs, forged({"alg": "HS256"}, tokens.claims(**claims)), says)


def test_an_end_beyond_numbers_is_refused(hs):
    raw = json.dumps(tokens.claims()).replace(str(tokens.claims()["exp"]), "1e999").encode()
    refused(hs, forged({"alg": "HS256"}, raw))


def test_alg_none_is_refused(hs, rs):
    for alg in ("none", "None", "NONE", "nOnE"):
        unsigned = f"{part({'alg': alg, 'typ': 'JWT'})}.{part(tokens.claims())}."
        for doorman in (hs, rs):
            refused(doorman, unsigned)
            refused(doorman, unsigned + "AA")


def test_a_public_key_is_no_secret(rs):
    """The attack on ``alg``: sign with HS256, and the public key that everyone has."""
    refused(rs, forged({"alg": "HS256", "typ": "JWT"}, secret=public(RSA_KEY)))
    refused(rs, forged({"alg": "HS256"}, secret=public(RSA_KEY).rstrip()))
    refused(rs, forged({"alg": "RS256"}, secret=public(RSA_KEY)))


def test_another_key_is_refused(hs, rs):
    refused(rs, tokens.token(OTHER_RSA, "RS256"))
    refused(hs, tokens.token("f" * 31 + "0"))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS384"},
        {"alg": "RS256"},
        {"alg": "HS256", "crit": ["exp"]},
        {"alg": "HS256", "b64": False},
        {"alg": ["HS256"]},
        {"alg": None},
        {"typ": "JWT"},
        {"alg": "HS256", "kid": ["x"]},
        {"alg": "HS256", "kid": {"x": 1}},
        [],
        7,
    ],
    ids=json.dumps,
)
def test_headers_that_are_not_good(hs, header):
    refused(hs, forged(header))


def test_a_key_in_the_header_is_not_used(rs):
    evil = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA.public_key()))
    headers = {"jwk": evil, "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/"}
    refused(rs, tokens.token(OTHER_RSA, "RS256", headers=headers))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b",
        "a.b.c",
        "....",
        "a.b.c.d",
        "\u00e9.b.c",
        "a b.c.d",
        "A" * 9000,
        f"{part(b'[' * 4000)}.e30.e30",
        f"{part(b'[' * 3000)}.{part(b'{')}.AA",
        f"{part(b'null')}.{part(b'null')}.AA",
        f"{part({'alg': 'HS256'})}.{part(bytes([255, 254]))}.AA",
    ],
    ids=lambda token: f"{token[:12]!r}-{len(token)}",
)
def test_what_is_no_token_is_refused(hs, token):
    refused(hs, token)


def test_every_changed_letter_is_noticed(hs):
    token = tokens.token()
    for at in range(0, len(token) - 1, 7):  # the last letter has bits that mean nothing
        if token[at] != ".":
            other = "A" if token[at] != "A" else "B"
            refused(hs, token[:at] + other + token[at + 1 :])
