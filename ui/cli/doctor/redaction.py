"""Takes secrets out of bytes: those that are known by value, and everything that looks like one.

It is applied to every byte that goes into a support bundle, after everything else was done to it. What is too much
taken out costs a support question; what is too little costs a key. So it leans to the former.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MASK: Final = b"[REDACTED]"
SHORTEST: Final = 6
"""Shorter values are no secrets, and would take words out of every sentence."""
LONGEST_NUMBER: Final = 12
"""Shorter numbers are limits and sizes."""

_TELLING_WORD: Final = (
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|SIGNING_?KEY|ENCRYPTION_?KEY"
    r"|CREDENTIALS?|COOKIE|_PAT|_PWD|_DSN|AUTHORIZATION)"
)
_NAME: Final = re.compile(_TELLING_WORD, re.IGNORECASE)
_HARMLESS_NAME: Final = re.compile(r"_(?:FILE|PATH|DIR|COUNT|LIMIT|MAX)$", re.IGNORECASE)

# A value: a quoted text (also one within JSON, where quotes have backslashes), or a word. Nothing here repeats without
# a bound: what is redacted was partly written by instances, which might want it to take for ever.
_QUOTED: Final = rb"""(?:\\"(?:(?!\\").){0,4096}\\"|"(?:[^"\\]|\\.){0,4096}")"""
_VALUE: Final = rb"""(?:""" + _QUOTED + rb"""|'[^'\n]{0,4096}'|[^\s"',;&\\]{1,4096})"""
_NAME_WITH_IT: Final = rb"(?!\w{0,64}_(?:FILE|PATH|DIR)\b)[\w.-]{0,64}" + _TELLING_WORD.encode() + rb"[\w.-]{0,64}"

_WHOLE: Final = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        # A private key, also one that is cut off; its line breaks may be written out, as in JSON.
        (
            rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY|\Z)",
            re.DOTALL,
        ),
        (rb"sk-ant-[A-Za-z0-9_-]+", 0),
        (rb"\bsk-[A-Za-z0-9_-]{16,}", 0),
        (rb"\b[rsp]k_(?:live|test)_[A-Za-z0-9]{8,}", 0),
        (rb"gh[pousr]_[A-Za-z0-9]{6,}", 0),
        (rb"github_pat_[A-Za-z0-9_]{6,}", 0),
        (rb"gl[a-z]{2,6}-[A-Za-z0-9_-]{16,}", 0),
        (rb"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{8,}", 0),
        (rb"\bAIza[A-Za-z0-9_-]{20,}", 0),
        (rb"\bya29\.[A-Za-z0-9_-]{10,}", 0),
        (rb"\bxox[a-z]-[A-Za-z0-9-]{6,}", 0),
        (rb"\bxapp-[A-Za-z0-9-]{6,}", 0),
        (rb"\b(?:npm|hf|pypi|dop_v1|shpat)[_-][A-Za-z0-9_-]{20,}", 0),
        (rb"\beyJ[A-Za-z0-9_-]{6,2048}\.[A-Za-z0-9_-]{6,4096}(?:\.[A-Za-z0-9_-]{0,2048})?", 0),
    )
)
_BEHIND: Final = tuple(
    # What stands before the secret stays.
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rb"(\bauthorization\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?)[^\r\n\"'\\]{1,4096}",
        rb"(\b(?:bearer|basic)\s{1,8})[A-Za-z0-9._~+/=-]{8,}",
        rb"(://)[^/@\s\"'\\]{1,512}(?=@)",
        rb"([?&#](?:token|key|secret|password|access_token)=)[^\s&\"'\\]{1,4096}",
        rb"(\b" + _NAME_WITH_IT + rb"\s{0,8}=\s{0,8})" + _VALUE,
        rb"(\\?\"" + _NAME_WITH_IT + rb"\\?\"\s{0,8}:\s{0,8})" + _QUOTED,
        # In prose and YAML only a name that ends in such a word, and no path: "password: x", not "TokenUnreadable: x".
        rb"((?<![/\w.-])(?:[\w.-]{0,64}[_.-])?" + _TELLING_WORD.encode() + rb":[ \t]{1,8})" + _VALUE,
        rb"(\bx-api-key:\s{0,8})" + _VALUE,
    )
)
_END_OF_KEY: Final = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----")
_KEY_BYTES: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \t\r\n")
_LONGEST_KEY: Final = 16384


def is_secret_name(name: str) -> bool:
    """Tell whether a variable of that name probably holds a secret (and not the name of a file with one)."""
    return _NAME.search(name) is not None and _HARMLESS_NAME.search(name) is None


class Redactor:
    """Takes out the values it knows and whatever looks like a secret."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._pattern: re.Pattern[bytes] | None = None

    def learn(self, *values: str) -> None:
        """Take out these values, too, also where they are written as JSON, in an address or in base64."""
        self._known |= {form for value in values for form in _forms(value.strip())}
        longest_first = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first))) if longest_first else None

    def learn_environment(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Take out the values of those variables that are probably secret."""
        self.learn(*(value for name, value in pairs if is_secret_name(name)))

    def __call__(self, data: bytes) -> bytes:
        """Return the data without secrets."""
        if self._pattern is not None:
            data = self._pattern.sub(MASK, data)
        for pattern in _WHOLE:
            data = pattern.sub(MASK, data)
        data = _without_ends_of_keys(data)
        for pattern in _BEHIND:
            data = pattern.sub(_keep_head, data)
        return data


def _without_ends_of_keys(data: bytes) -> bytes:
    """Take out private keys whose beginning was cut off."""
    kept, position = [], 0
    for end in _END_OF_KEY.finditer(data):
        start = end.start()
        least = max(position, start - _LONGEST_KEY)
        while start > least and data[start - 1] in _KEY_BYTES:
            start -= 1
        kept += [data[position:start], MASK]
        position = end.end()
    return b"".join((*kept, data[position:]))


def _keep_head(match: re.Match[bytes]) -> bytes:
    """Return what stood before the secret and the mask, in the quotes the secret was in, so that JSON stays JSON."""
    head, whole = match[1], match[0]
    value = whole[len(head) :]
    for mark in (b'\\"', b'"', b"'"):
        if value.startswith(mark):
            return head + mark + MASK + mark
    return head + MASK


def _forms(value: str) -> set[bytes]:
    if len(value) < SHORTEST or (value.isdecimal() and len(value) < LONGEST_NUMBER):
        return set()
    forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(value, safe="")}
    encoded = base64.b64encode(value.encode()).rstrip(b"=")
    return {form.encode("utf-8", "surrogateescape") for form in forms} | {encoded}
