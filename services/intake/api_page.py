"""What the counter offers, for people: the description for programs on one page. Pure."""

import html
import json
from functools import cache
from typing import Any

from services.intake.api_openapi import document


@cache
def page() -> str:
    """What there is, with commands to copy."""
    entries = []
    for place, methods in document()["paths"].items():
        for method, operation in methods.items():
            command = html.escape(_curl(place, method, operation))
            heading = f"<h2>{method.upper()} {html.escape(place)}</h2><p>{html.escape(operation['summary'])}</p>"
            headers = [one for one in operation.get("parameters", ()) if one["in"] == "header"]
            said = "".join(f"<p>{one['name']}: {html.escape(one['schema']['description'])}</p>" for one in headers)
            entries.append(f"{heading}{said}<pre>{command}</pre>")
    info = document()["info"]
    style = "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto}pre{background:#eee;padding:1em;overflow:auto}"
    return (
        f'<!doctype html><html lang="zh"><meta charset="utf-8"><title>{info["title"]}</title><style>{style}</style>'
        f'<h1>{info["title"]}</h1><p>{info["description"]}</p><p><a href="/openapi.json">openapi.json</a></p>{"".join(entries)}'
    )


def _curl(place: str, method: str, operation: dict[str, Any]) -> str:
    for parameter in operation.get("parameters", ()):
        place = place.replace(f"{{{parameter['name']}}}", parameter.get("example", ""))
    command = f'curl -H "Authorization: Bearer $KEY" "$COUNTER{place}"'
    if method == "get":
        return command
    (media_type, content), *_ = operation["requestBody"]["content"].items()
    example = content["example"]
    text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    return f"{command} \\\n  -H 'Content-Type: {media_type}' --data-binary '{text}'"
