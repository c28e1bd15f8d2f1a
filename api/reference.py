"""``/docs``: the routes as one plain page, made from the OpenAPI document; no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi.responses import HTMLResponse

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
:root { color-scheme: light dark }
h2 { font-size: 1rem; margin: 2rem 0 .25rem; font-family: ui-monospace, monospace }
table { border-collapse: collapse; width: 100% } td { padding: .15rem .75rem .15rem 0; vertical-align: top }
code { font-family: ui-monospace, monospace } .soft { opacity: .7 }
"""


def reference_page(openapi: dict[str, Any]) -> HTMLResponse:
    """Return the page."""
    parts = "\n".join(_operations(openapi))
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>API · cc-orchestrator</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>
<h1>API of {escape(openapi["info"]["title"])} {escape(openapi["info"]["version"])}</h1>
<p>{escape(openapi["info"]["description"])} The document for programs is <a href="/openapi.json">/openapi.json</a>.</p>
{parts}</html>"""
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def _operations(openapi: dict[str, Any]) -> Iterator[str]:
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            yield f"<h2>{method.upper()} {escape(path)}</h2><div>{escape(operation.get('description', ''))}</div>"
            rows = [
                (parameter["in"], parameter["name"], parameter.get("description", ""))
                for parameter in operation.get("parameters", [])
            ]
            body = operation.get("requestBody", {}).get("content", {})
            rows += [("body", media, _schema_name(content)) for media, content in body.items()]
            for status, response in operation["responses"].items():
                if int(status) < 400:
                    content = response.get("content", {})
                    named = ", ".join(_schema_name(one) for one in content.values())
                    rows.append(("answer", status, named or response["description"]))
            cells = "".join(
                f'<tr><td class="soft">{escape(kind)}</td><td><code>{escape(name)}</code></td>'
                f"<td>{escape(text)}</td></tr>"
                for kind, name, text in rows
            )
            yield f"<table>{cells}</table>"


def _schema_name(content: dict[str, Any]) -> str:
    schema: dict[str, Any] = content.get("schema", {})
    reference = str(schema.get("$ref", ""))
    return reference.rpartition("/")[2] or str(schema.get("title", schema.get("type", "")))
