"""The digest ignores exactly what the contract says: spelling, and what a retry makes anew."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.intake.submission import read
from shared.money import half_up, yuan

moments = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)).map(lambda d: d.replace(microsecond=0, tzinfo=UTC))  # noqa: DTZ001
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
maybe = st.none() | st.sampled_from(["A", "B"])


@st.composite
def claims(draw: st.DrawFn) -> dict[str, Any]:
    """A well formed claim, its instants as datetimes and its decimals as Decimals."""
    visited = draw(moments)
    claim: dict[str, Any] = {
        "type": "claim", "claim_no": draw(st.sampled_from("CD")), "institution_id": "I", "member_id": draw(st.sampled_from("MN")),
        "benefit": draw(st.sampled_from(["ordinary", "chronic:X"])), "channel": draw(st.sampled_from(["direct", "manual"])),
        "emergency": draw(st.booleans()), "use_account": draw(st.booleans()), "family_payer": draw(maybe), "quote": draw(maybe),
        "visited_at": visited, "submitted_at": visited + timedelta(seconds=draw(st.integers(0, 10**6))),
    }  # fmt: skip
    if draw(st.booleans()):
        parts = draw(st.lists(st.integers(0, 300), min_size=4, max_size=4))
        names = ("own_paid", "over_limit", "pre_self_pay", "in_scope")
        claim |= {name: Decimal(yuan(part)) for name, part in zip(names, parts, strict=True)}
        claim["total"] = Decimal(yuan(sum(parts)))
        return claim
    lines = []
    for position in range(draw(st.integers(1, 3))):
        quantity, price = draw(st.integers(0, 30_000)), draw(st.integers(0, 3_000_000))
        amount = half_up(quantity * price, 10**8)
        lines.append((position + 1, Decimal(quantity) / 10**4, Decimal(price) / 10**6, amount))
    claim["lines"] = [
        {"line_no": number, "code": "X", "quantity": quantity, "unit_price": price, "amount": Decimal(yuan(amount))}
        for number, quantity, price, amount in lines
    ]
    claim["total"] = Decimal(yuan(sum(amount for *_, amount in lines)))
    return claim


def spell(draw: Callable[..., Any], document: dict[str, Any]) -> dict[str, Any]:
    """The same claim in one of its spellings: zeros, zones, the order of keys, null or absent, 1 or "1"."""
    spelt: dict[str, Any] = {}
    for name in draw(st.permutations(sorted(document))):
        value = document[name]
        match value:
            case None if draw(st.booleans()):
                continue
            case datetime():
                spelt[name] = value.astimezone(draw(offsets)).isoformat()
            case Decimal():
                places = {"quantity": 4, "unit_price": 6}.get(name, 2)
                shortest = f"{value.normalize():f}"
                padded = shortest + ("" if "." in shortest else ".") + "0" * places
                longest = padded[: padded.index(".") + 1 + places]
                spelt[name] = draw(st.sampled_from([shortest, longest]))
            case list():
                spelt[name] = [spell(draw, line) for line in value]
            case int() if name == "line_no":
                spelt[name] = draw(st.sampled_from([value, str(value)]))
            case _:
                spelt[name] = value
    return spelt


def digest(document: dict[str, Any]) -> str:
    submission = read(json.dumps(document).encode())
    assert not submission.faults, submission.faults
    return submission.digest


@given(st.data(), claims())
def test_two_spellings_of_a_claim_have_one_digest(data: st.DataObject, claim: dict[str, Any]) -> None:
    retry = claim | {"submitted_at": claim["submitted_at"] + timedelta(seconds=data.draw(st.integers(0, 100)))}
    assert digest(spell(data.draw, claim)) == digest(spell(data.draw, retry))


@given(st.data(), claims(), claims())
def test_two_claims_with_one_digest_say_the_same(data: st.DataObject, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (digest(spell(data.draw, one)) == digest(spell(data.draw, other))) == (_content(one) == _content(other))


@given(st.data(), claims(), claims())
def test_a_claim_with_one_field_changed_has_another_digest(
    data: st.DataObject, one: dict[str, Any], other: dict[str, Any]
) -> None:
    name = data.draw(st.sampled_from(["claim_no", "member_id", "benefit", "channel", "emergency", "use_account", "quote"]))
    changed = one | {name: other[name]}
    assert (digest(spell(data.draw, one)) == digest(spell(data.draw, changed))) == (one == changed)


def _content(claim: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claim.items() if name != "submitted_at"}
