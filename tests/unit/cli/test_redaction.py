"""No secret gets through the redactor, however it is written; what is no secret mostly does."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ui.cli.doctor.redaction import MASK, Redactor, is_secret_name

KEY_BODY = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ"] * 4)
PRIVATE_KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{KEY_BODY}\n-----END OPENSSH PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9"

# What is written, and the part of it that must not get through.
LOOKS_LIKE_ONE = [
    ("key sk-ant-api03-AAAAbbbbCCCC-dddd_eeee used", "api03"),
    ("openai sk-proj-0123456789abcdefABCDEF", "0123456789abcdef"),
    ("stripe sk_live_51H8abcdEFGH", "51H8abcd"),
    ("remote: ghp_0123456789abcdefABCDEF0123456789abcd", "0123456789"),
    ("gho_16C7e42F292c6912E7710c838347Ae178B4a", "16C7e42F"),
    ("github_pat_11ABCDEFG0_abcdefghijklmnop", "11ABCDEFG0"),
    ("glpat-ABCDEFGHIJKLMNOPQRST", "ABCDEFGHIJ"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "SyA1234567"),
    ("xoxb-123456789012-abcdefghijkl", "123456789012"),
    ("xapp-1-A0123456789-abcdef", "A0123456789"),
    ("npm_abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghij"),
    (f"cookie {JWT}", "dozjgNryP4J3"),
    ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
    ("authorization: token abcdef0123456789", "abcdef0123456789"),
    ('{"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}', "dXNlcjpwYXNz"),
    ("-H 'Authorization: Bearer abcdef0123456789'", "abcdef0123456789"),
    ("bearer   abcdef0123456789", "abcdef0123456789"),
    ("x-api-key: abcdef", "abcdef"),
    ("https://person:hunter22@example.org/repository.git", "hunter22"),
    ("https://x-access-token:abcdef0123@example.org", "abcdef0123"),
    ("http://127.0.0.1:8080/login#token=abcdef0123456789", "abcdef0123456789"),
    ("GET /callback?code=1&access_token=abcdef0123", "abcdef0123"),
    ("DATABASE_PASSWORD=hunter22", "hunter22"),
    ("export MY_API_KEY='hunter 22'", "hunter 22"),
    ('GITHUB_TOKEN="hunter 22" npm test', "hunter 22"),
    ("db.password = hunter22", "hunter22"),
    ('{"Env": ["PGPASSWORD=hunter22", "LANG=C"]}', "hunter22"),
    ('{"api_key": "hunter22"}', "hunter22"),
    ('{"client_secret" : "hunter\\"22"}', "22"),
    ('"message": "config {\\"password\\": \\"hunter22\\"} read"', "hunter22"),
    ('"message": "DB_PASSWORD=\\"hunter 22\\" set"', "hunter 22"),
    ("password: hunter22", "hunter22"),
    ("  - secret: hunter22", "hunter22"),
    (PRIVATE_KEY, "MIIEvQ"),
    (json.dumps({"key": PRIVATE_KEY}), "MIIEvQ"),
    (PRIVATE_KEY[:150], "MIIEvQ"),
    (PRIVATE_KEY[60:], "BAQEFAASC"),
    (json.dumps(PRIVATE_KEY)[60:], "BAQEFAASC"),
]


@pytest.mark.parametrize(("text", "secret"), LOOKS_LIKE_ONE)
def test_what_looks_like_a_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret in text, "the example is one"
    for before, behind in (("", ""), ("2026-11-20T12:00:00Z INFO x: ", "\n"), ("line\n", "\nline")):
        told = Redactor()(f"{before}{text}{behind}".encode())
        assert secret.encode() not in told
        assert MASK in told
        assert told.startswith(before.encode()) or "PRIVATE KEY" in text


INNOCENT = [
    "2026-11-20T12:00:00Z INFO controller.runtime.docker.engine: connected to the docker engine api_version=1.41",
    "FAIL      token   /home/me/state/token has mode 0644, so others can look into it",
    '{"name": "token", "status": "FAIL"}',
    '{"tokens": 5, "max_tokens": 128000, "secret": null, "password": false, "credentials": ["a"]}',
    "CCO_TOKEN_FILE=/home/me/token",
    "the author = A. Person",
    "server: TokenUnreadable: /home/me/state/token: the API token cannot be read",
    "/home/me/state/token: mode 0644 is now 0600",
    "commit 0123456789abcdef0123456789abcdef01234567",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "uid 7d0e9a46-7a5f-4b8e-9c69-5d1c5a3f2b10",
    "http://127.0.0.1:8080/api/instances/web",
    "tasks-and-other-words-with-hyphens-that-are-long",
]


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor()(text.encode()) == text.encode()


def test_json_stays_json() -> None:
    data = {
        "Env": ["TOKEN=abc", 'API_KEY="quoted value"', "LANG=C"],
        "password": "hunter22",
        "nested": {"client_secret": 'with "quotes" and \\ backslashes', "count": 5},
        "key": PRIVATE_KEY,
        "text": f"Authorization: Bearer abcdef0123456789 and {JWT}",
        "limits": {"max_tokens": 4096, "tokens": None, "secrets": ["x", "y"]},
    }
    told = Redactor()(json.dumps(data, indent=2).encode())
    read = json.loads(told)
    assert read["limits"] == data["limits"]
    assert read["nested"]["count"] == 5
    for secret in (b'abc"', b"quoted value", b"hunter22", b"backslashes", b"MIIEvQ", b"abcdef0123456789", JWT.encode()):
        assert secret not in told


def test_known_values_are_taken_out_in_every_form() -> None:
    value = 'p"ss wörd/ä+1'
    redact = Redactor()
    redact.learn(value, "", "short")
    forms = [
        value,
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        quote(value, safe=""),
        base64.b64encode(value.encode()).decode(),
    ]
    for form in forms:
        told = redact(f"said {form} aloud, in short".encode()).decode()
        assert told in {f"said {MASK.decode()} aloud, in short", f'said "{MASK.decode()}" aloud, in short'} | {
            f"said {MASK.decode()}{'=' * padding} aloud, in short" for padding in (1, 2)
        }


def test_the_longer_of_two_known_values_goes_first() -> None:
    redact = Redactor()
    redact.learn("hunter22", "hunter22-and-more")
    assert redact(b"x hunter22-and-more y hunter22 z") == b"x [REDACTED] y [REDACTED] z"


def test_variables_are_learned_by_their_names() -> None:
    redact = Redactor()
    redact.learn_environment(
        [("MY_PASSWORD", "abcdefgh"), ("EDITOR", "emacs-nox"), ("TOKEN_FILE", "/home/me/x"), ("MAX_TOKENS", "128000")]
    )
    told = redact(b"abcdefgh emacs-nox /home/me/x 128000")
    assert told == b"[REDACTED] emacs-nox /home/me/x 128000"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("GITHUB_TOKEN", True),
        ("npm_config__authToken", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("apikey", True),
        ("PGPASSWORD", True),
        ("CCO_TOKEN_FILE", False),
        ("PATH", False),
        ("AUTHOR", False),
    ],
)
def test_names(name: str, *, secret: bool) -> None:
    assert is_secret_name(name) is secret


@given(
    secret=st.text(
        st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Cs", "Cc"]), min_size=12, max_size=60
    ),
    before=st.binary(max_size=50),
    behind=st.binary(max_size=50),
)
@settings(max_examples=200, deadline=None)
def test_whatever_a_known_secret_is_and_wherever_it_stands_it_is_gone(
    secret: str, before: bytes, behind: bytes
) -> None:
    redact = Redactor()
    redact.learn(secret)
    told = redact(before + secret.encode() + b" " + json.dumps({"said": f"it is {secret}."}).encode() + behind)
    if not secret.isdecimal():
        assert secret.encode() not in told.replace(MASK, b"\n")


HOSTILE = [
    b"a-" * 40_000,
    b"eyJ" * 40_000,
    b"A" * 100_000 + b"-----END RSA PRIVATE KEY-----" + b"A" * 100_000,
    b"TOKEN" * 20_000,
    b"-----BEGIN PRIVATE KEY-----" * 4_000,
    b"-----END PRIVATE KEY-----" * 4_000,
    b'"password":"' * 10_000,
    b"://" * 40_000,
    b"bearer " * 20_000,
    b'\\"secret\\":\\"' * 8_000,
    b"secret:\n" * 10_000,
]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:12]))
def test_nothing_an_instance_prints_makes_it_take_for_ever(data: bytes) -> None:
    began = time.process_time()
    Redactor()(data)
    assert time.process_time() - began < 10
