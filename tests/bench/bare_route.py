"""``python -m bench.bare_route PORT FILE...``: a server whose routes ``/0``, ``/1``, ... answer with a file's bytes.

The same framework and server as the product's; nothing is looked up, checked or rendered.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response


def answering(body: bytes) -> Callable[[], Awaitable[Response]]:
    """Return a route's function."""

    async def answer() -> Response:
        return Response(body, media_type="application/json")

    return answer


def main(port: str, *files: str) -> None:
    """Serve until a signal."""
    app = FastAPI()
    for number, file in enumerate(files):
        app.add_api_route(f"/{number}", answering(Path(file).read_bytes()))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_config=None, access_log=False, server_header=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
