"""``python -m bench.engine_requests SOCKET``: stands between the controller and the engine and counts what is asked.

A process of its own, so that it costs the controller nothing. Each line of standard input is answered by one of JSON:
how often each request was made since the line before.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import Counter
from pathlib import Path

from support.engine_proxy import EngineProxy

_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) (?:/v[0-9.]+)?(/[^ ?]*)[^ ]* HTTP/1\.1\r\n")
_IDENTIFIER = re.compile(r"[0-9a-f]{12,64}|ccobench[^/]*")


def kinds(data: bytes) -> list[str]:
    """Return the requests in what was sent, with identifiers left out."""
    return [
        f"{method.decode()} {_IDENTIFIER.sub('ID', path.decode(errors='replace'))}"
        for method, path in _REQUEST.findall(data)
    ]


def main(path: str) -> None:
    """Pass on and count until standard input ends."""
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def heard(data: bytes) -> None:
        with lock:
            counts.update(kinds(data))

    with EngineProxy(Path(path), heard=heard):
        sys.stdout.write("{}\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            with lock:
                told = json.dumps(dict(counts))
                counts.clear()
            sys.stdout.write(f"{told}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
