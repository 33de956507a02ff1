"""What the counter says when the answer is no: RFC 9457 problem documents, in Chinese and English, with the remedy. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from services.intake.api_remedies import REMEDIES, unreadable_because
from shared.reasons import TEXTS, Reason

MEDIA_TYPE: Final = "application/problem+json"


class Kind(NamedTuple):
    """One kind of problem: the status, what it is called, and what mends it."""

    status: int
    zh: str
    en: str
    remedy_zh: str
    remedy_en: str


KINDS: Final[dict[str, Kind]] = {
    "unreadable": Kind(400, "无法读取", "unreadable", "请发送一个 UTF-8 JSON 对象", "send one JSON object in UTF-8"),
    "wrong_type": Kind(400, "记录类型不符", "wrong type of record", "请改用对应的地址", "send it to the address for its type"),
    "bad_parameter": Kind(400, "参数有误", "bad parameter", "请按 detail 改正参数", "correct the parameter named in detail"),
    "unauthorized": Kind(
        401, "缺少或无效的密钥", "no valid API key",
        "请在 Authorization 头中以 Bearer 方式提供本机构密钥", "send the institution's key: Authorization: Bearer KEY",
    ),
    "other_institution": Kind(
        403, "密钥属于另一机构", "the key is another institution's",
        "只能提交和查看本机构的结算", "an institution submits and sees only its own",
    ),
    "not_found": Kind(
        404, "该号下没有结算", "nothing stands under this number",
        "若刚刚发送过，请稍候再查，或原样重发；记录本身被拒收（如 malformed）的，该号未占用",
        "if it was sent just now, ask again or send the same again; a record rejected for itself leaves its number free",
    ),
    "no_such_place": Kind(404, "没有该地址", "no such place", "请查看 /openapi.json", "see /openapi.json"),
    "no_such_method": Kind(405, "不支持该方法", "method not allowed", "请查看 /openapi.json", "see /openapi.json"),
    "too_slow": Kind(408, "请求超时", "the request took too long", "请一次发完请求", "send the whole request at once"),
    "too_large": Kind(413, "请求过大", "too large", "单条记录至多 1,000,000 字节", "a record has at most 1,000,000 bytes"),
    "encoding": Kind(
        415, "不接受压缩内容", "no content coding is taken", "请发送未压缩的内容", "send it without Content-Encoding",
    ),
    "rate_limited": Kind(
        429, "请求过于频繁", "too many requests", "请在 Retry-After 秒后再试", "try again after Retry-After seconds",
    ),
    "internal": Kind(
        500, "内部错误", "internal error", "请原样重发；号码 request_id 供查询", "send the same again; quote request_id",
    ),
    "unavailable": Kind(
        503, "暂时无法处理，结果未知", "not possible now; the result is unknown",
        "请稍后原样重发：不会重复结算", "send the same again later: nothing is settled twice",
    ),
}  # fmt: skip

# Of an outcome that was rejected. A conflict is with what stands; everything else is what the record says.
_CONFLICTS: Final = frozenset(
    {"duplicate_conflict", "claim_not_found", "reversed_before_arrival", "later_claim_stands", "quote_stale"}
)


class Problem(Exception):
    """Ends a request with a problem document. ``detail`` is (zh, en); ``more`` stands beside the standard members."""

    def __init__(
        self,
        code: str,
        detail: tuple[str, str] | None = None,
        *,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.status = status or KINDS[code].status
        self.headers = dict(headers or {})
        self.more = more

    def document(self, request_id: str) -> dict[str, Any]:
        """The document as it is sent."""
        kind = KINDS.get(self.code)
        zh, en = (kind.zh, kind.en) if kind else TEXTS[self.code]
        detail_zh, detail_en = self.detail or (zh, en)
        document: dict[str, Any] = {
            "type": f"urn:gongji:problem:{self.code}",
            "title": en,
            "status": self.status,
            "detail": detail_en,
            "code": self.code,
            "zh": {"title": zh, "detail": detail_zh},
            "request_id": request_id,
        }
        if kind:
            document["remedy"] = {"zh": kind.remedy_zh, "en": kind.remedy_en}
        return document | self.more

    def body(self, request_id: str) -> bytes:
        """The document's bytes."""
        return msgspec.json.encode(self.document(request_id))


def unreadable(text: str) -> Problem:
    """The problem of a record that cannot be read, for a reason of ``shared.errors.Unreadable``."""
    because, (zh, en) = unreadable_because(text)
    return Problem("unreadable", because, remedy={"zh": zh, "en": en})


def bad_parameter(name: str, zh: str, en: str) -> Problem:
    """The problem of a parameter that is not what it must be."""
    return Problem("bad_parameter", (f"参数 {name} 应为：{zh}", f"{name} must be {en}"), field=name)


def refused(reasons: Sequence[Reason], **more: Any) -> Problem:
    """The problem of a record that is refused, for these reasons: those of contract.md, with field and remedy of the first."""
    first = reasons[0]
    remedy = REMEDIES[first.code]
    more |= {
        "field": first.field or remedy.field,
        "remedy": {"zh": remedy.zh, "en": remedy.en},
        "reasons": msgspec.to_builtins(reasons),
    }
    return Problem(first.code, (first.zh, first.en), status=409 if first.code in _CONFLICTS else 422, **more)
