"""What the counter offers, for programs: OpenAPI 3.1. Pure.

The records' schemas are made from the forms that read them, the outcome's from the outcome itself. The examples are true:
a test sends each of them, after the register of ``deploy/counter/register.ndjson``.
"""

import json
from copy import deepcopy
from functools import cache
from typing import Any, Final

import msgspec

from services.intake.api_places import DEFAULT_WAIT, LONGEST_WAIT
from services.intake.api_problems import KINDS, MEDIA_TYPE
from services.intake.faults import EXPECTED
from services.intake.forms import AccountUseForm, ClaimForm, ReversalForm
from shared.outcome import Outcome
from shared.reasons import REJECTED, REJECTS_USE

_WAIT: Final = (
    f"`wait=N`: seconds to wait for the outcome; {DEFAULT_WAIT} unless said, {LONGEST_WAIT} at most, more is taken as that"
)
_APPLIED: Final = {"description": "the wait that a `Prefer` came to, as `wait=N`", "schema": {"type": "string"}}
_REF: Final = "#/components/schemas/{model}"

CLAIM: Final[dict[str, Any]] = {
    "type": "claim", "claim_no": "MZ20230502-0001", "institution_id": "H130900001", "member_id": "M130900001",
    "benefit": "ordinary", "channel": "direct", "emergency": False, "use_account": True,
    "visited_at": "2023-05-02T09:30:00+08:00", "submitted_at": "2023-05-02T10:05:00+08:00",
    "total": "480.00", "own_paid": "20.00", "over_limit": "0.00", "pre_self_pay": "10.00", "in_scope": "450.00",
}  # fmt: skip
REVERSAL: Final[dict[str, Any]] = {
    "type": "reversal", "claim_no": CLAIM["claim_no"], "institution_id": CLAIM["institution_id"],
    "reversed_at": "2023-05-02T11:00:00+08:00", "reason": "录入有误",
}  # fmt: skip
_FEED: Final = "\n".join(json.dumps(one, ensure_ascii=False) for one in (CLAIM, REVERSAL)) + "\n"

# The patterns by which fields are read are written for another engine, and these say the same.
_PATTERNS: Final = {
    "amount": r"^(0|[1-9][0-9]{0,12})(\.[0-9]{1,2})?$",
    "quantity": r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,4})?$",
    "unit_price": r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?$",
    "insured_region": r"^[0-9]{6}$",
}
_AMOUNTS: Final = ("total", "own_paid", "over_limit", "pre_self_pay", "in_scope", "amount")


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gongji 共济: the counter 窗口",
            "version": "1",
            "description": (
                "Settles outpatient claims. Every record may be sent again: it is never settled twice, and a repeat gets the "
                "first outcome. 同一记录可重复发送，不会重复结算，重复发送得到首次结果。"
            ),
        },
        "security": [{"key": []}],
        "paths": {
            "/v1/claims": {"post": _post("Settle a claim 结算", "claims", ["Claim", "AccountUse"], CLAIM, waits=True)},
            "/v1/reversals": {"post": _post("Cancel a claim 撤销", "reversals", ["Reversal"], REVERSAL, waits=True)},
            "/v1/claims/trial": {"post": _post("What would be paid 试算", "trial", ["Claim"], CLAIM, waits=False)},
            "/v1/feed": {"post": _feed()},
            "/v1/claims/{institution_id}/{claim_no}": {"get": _outcome()},
            "/v1/outcomes": {"get": _outcomes()},
            "/v1/members/{member_id}/counters": {"get": _counters()},
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "gongji institution key create"}},
            "schemas": _schemas(),
        },
    }


def _post(summary: str, name: str, models: list[str], example: dict[str, Any], *, waits: bool) -> dict[str, Any]:
    refs = [{"$ref": _REF.format(model=model)} for model in models]
    answers = {"200": _answer("The outcome" if waits else "The trial, with its quote", "Outcome" if waits else "Trial")}
    parameters = []
    if waits:
        answers["202"] = _answer("Not settled within the wait: ask at `location`, or send the same again", "InProgress")
        wait = {"type": "string", "example": "wait=5", "description": _WAIT}
        parameters.append(_parameter("Prefer", "header", wait, required=False))
        for answer in answers.values():
            answer["headers"] = {"Preference-Applied": _APPLIED}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": refs[0] if len(refs) == 1 else {"oneOf": refs}, "example": example}},
        },
        "responses": answers | _problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503),
    }


def _feed() -> dict[str, Any]:
    return {
        "operationId": "feed",
        "summary": "A day in a stream 批量: NDJSON up, outcomes down in the order sent",
        "requestBody": {
            "required": True,
            "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": _FEED}},
        },
        "responses": {
            "200": {
                "description": "A line a line: an outcome; `in_progress`, to be asked for later; or `problem`.",
                "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
            }
        }
        | _problems(400, 401, 415, 429, 500, 503),
    }


def _outcome() -> dict[str, Any]:
    return {
        "operationId": "outcome",
        "summary": "The outcome of a number 查询结果",
        "parameters": [
            _parameter("institution_id", "path", {"type": "string", "minLength": 1}, example=CLAIM["institution_id"]),
            _parameter("claim_no", "path", {"type": "string", "minLength": 1}, example=CLAIM["claim_no"]),
            _parameter("kind", "query", {"type": "string", "enum": ["claim", "reversal"], "default": "claim"}, required=False),
        ],
        "responses": {"200": _answer("The outcome, also a rejection", "Outcome"), "202": _answer("On its way", "InProgress")}
        | _problems(400, 401, 403, 404, 429, 500, 503),
    }


def _outcomes() -> dict[str, Any]:
    return {
        "operationId": "outcomes",
        "summary": "All outcomes of the institution, each once 对账",
        "parameters": [_parameter("after", "query", {"type": "string"}, required=False)],
        "responses": {"200": _answer("A page; `next` is the cursor of the next one", "Outcomes")}
        | _problems(400, 401, 429, 500, 503),
    }


def _counters() -> dict[str, Any]:
    return {
        "operationId": "counters",
        "summary": "What a member has used and has left 累计值",
        "parameters": [
            _parameter("member_id", "path", {"type": "string", "minLength": 1}, example=CLAIM["member_id"]),
            _parameter("on", "query", {"type": "string", "format": "date"}, required=False, example="2023-05-02"),
        ],
        "responses": {"200": _answer("Deductibles and caps, with their articles", "Counters")}
        | _problems(400, 401, 404, 429, 500, 503),
    }


def _parameter(name: str, where: str, schema: dict[str, Any], *, required: bool = True, example: str = "") -> dict[str, Any]:
    shown = {"example": example} if example else {}
    return {"name": name, "in": where, "required": required, "schema": schema, **shown}


def _answer(description: str, model: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": _REF.format(model=model)}}}}


def _problems(*statuses: int) -> dict[str, Any]:
    meanings = {kind.status: f"{kind.en} {kind.zh}" for kind in KINDS.values()}
    meanings |= {409: "conflicts with what stands 与已有记录冲突", 422: "refused 拒付", 404: "unknown 未找到"}
    schema = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {str(status): {"description": meanings[status], "content": schema} for status in statuses}


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for name, form in (("Claim", ClaimForm), ("Reversal", ReversalForm), ("AccountUse", AccountUseForm)):
        schema = form.model_json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    for schema in schemas.values():
        for field, shape in schema["properties"].items():
            _describe(field, shape)
    _, outcome = msgspec.json.schema_components([Outcome], ref_template="#/components/schemas/{name}", schema_hook=_anything)
    schemas |= outcome
    trial = deepcopy(outcome["Outcome"])
    for name in ("event_id", "revision"):
        trial["properties"].pop(name, None)
    trial["required"] = [name for name in trial["required"] if name != "event_id"]
    trial["properties"] |= {"type": {"const": "trial"}, "quote": {"type": "string", "description": "goes into the claim"}}
    return schemas | {"Trial": trial} | _SMALL


def _anything(_type: type) -> dict[str, Any]:
    return {"description": "any value"}


def _describe(field: str, shape: dict[str, Any]) -> None:
    """Says what a field must hold, in the words that a refusal would use."""
    texts = [one for one in (shape, *shape.get("anyOf", ())) if one.get("type") == "string"]
    for text in texts:
        text.pop("pattern", None)
        if pattern := _PATTERNS.get("amount" if field in _AMOUNTS else field):
            text["pattern"] = pattern
        if field.endswith("_at"):
            text["format"] = "date-time"
    if field in EXPECTED:
        shape["description"] = " ".join(EXPECTED[field])


_SMALL: Final[dict[str, Any]] = {
    "InProgress": {
        "type": "object",
        "properties": {"status": {"const": "in_progress"}, "location": {"type": "string"}},
        "required": ["status"],
    },
    "Outcomes": {
        "type": "object",
        "properties": {
            "outcomes": {"type": "array", "items": {"$ref": _REF.format(model="Outcome")}},
            "next": {"type": "string"},
            "more": {"type": "boolean"},
        },
        "required": ["outcomes", "next", "more"],
    },
    "Counters": {
        "type": "object",
        "properties": {
            "member_id": {"type": "string"},
            "on": {"type": "string", "format": "date"},
            "region": {"type": "string"},
            "policy": {"type": ["object", "null"], "description": "null: no rules of this region are in force on that day"},
            "period": {"type": ["string", "null"]},
            "counters": {"type": "array", "items": {"$ref": _REF.format(model="Counter")}},
        },
        "required": ["member_id", "on", "region", "policy", "period", "counters"],
    },
    "Counter": {
        "type": "object",
        "description": "A figure, for these benefits at hospitals of these levels. Of a visit that is to come, nothing is used.",
        "properties": {
            "name": {"type": "string"},
            "kind": {"enum": ["deductible", "cap", "count"]},
            "per": {"enum": ["period", "visit"]},
            "benefits": {"type": "array", "items": {"type": "string"}},
            "levels": {"type": "array", "items": {"type": "string"}},
            "limit": {"type": "string"},
            "used": {"type": ["string", "integer"], "description": "yuan; of a count, how many"},
            "left": {"type": "string"},
            "article": {"type": "string"},
        },
        "required": ["name", "kind", "per", "used"],
    },
    "Problem": {
        "type": "object",
        "description": "RFC 9457. `code` is one of the closed list; `outcome` is there where the number is used.",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string", "enum": sorted({*KINDS, *REJECTED, *REJECTS_USE})},
            "field": {"type": "string"},
            "zh": {"type": "object"},
            "remedy": {"type": "object"},
            "reasons": {"type": "array", "items": {"$ref": _REF.format(model="Reason")}},
            "outcome": {"$ref": _REF.format(model="Outcome")},
            "rejection": {
                "$ref": _REF.format(model="Outcome"),
                "description": "of what was sent last and did not bind its number",
            },
            "request_id": {"type": "string"},
        },
        "required": ["type", "title", "status", "detail", "code", "zh", "remedy", "request_id"],
    },
}
