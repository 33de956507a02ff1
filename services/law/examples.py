"""Worked examples: small YAML tables that an agency can read, settled by the very steps of the services.

An example says who and where (``given``, and what differs in a claim's own line), and what must come out
(``expect``); it is turned into a feed and replayed. ``policies/README.md`` explains the keys.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from services.law import account_examples, payment_examples
from services.replay import Replay, chunks, item_of
from shared.errors import UsageError
from shared.money import fen, yuan
from shared.policy import Policies
from shared.policy.lint import read_parameters
from shared.policy.reading import read_yaml

Given = Mapping[str, Any]

FUNDS = ("deductible", "pooled", "civil_servant", "large_expense", "veterans")
_EVER = "2000-01-01"
_EVER_DAY = date(2000, 1, 1)
_OF_A_MEMBER = "status supplements covered_to valid_from qualified employment account register"
_OF_A_PLACE = "kind level in designated pooled_outpatient networked at prescriber host prescriber_host"
_OF_A_CLAIM = "day in_scope pre_self_pay benefit channel submitted emergency doctor excluded_as use_account"
_OF_A_LINE = "family_payer insured_region reverse use amount for expect"
_KEYS = frozenset(f"{_OF_A_MEMBER} {_OF_A_PLACE} {_OF_A_CLAIM} {_OF_A_LINE}".split())
_UNQUALIFIED = ("ordinary", "day_surgery", "maternity")  # benefits that nobody has to be granted


class Example(NamedTuple):
    """One example of a file. ``articles``: those it shows at work. Claims, or what else is worked out."""

    file: str
    region: str
    name: str
    articles: tuple[str, ...]
    given: Given
    claims: tuple[Given, ...]
    parameters: Given
    since: date = _EVER_DAY  # from when the parameters are given
    credits: tuple[Given, ...] = ()
    leavings: tuple[Given, ...] = ()
    payments: tuple[Given, ...] = ()


def read_examples(directory: Path) -> list[Example]:
    """Every example in a directory. Raises UsageError for a file that is not a table of examples."""
    found = []
    for file in sorted(directory.glob("*.yaml")):
        data = read_yaml(file.read_bytes(), file.name)
        try:
            for one in data["examples"]:
                others = [tuple(one.get(name, ())) for name in ("credits", "leavings", "payments")]
                claims = () if any(others) else tuple(one["claims"])
                parts = (one.get("given", {}), claims, one.get("parameters", {}), one.get("from", _EVER_DAY), *others)
                _check_keys([one.get("given", {}), *claims])
                found.append(Example(file.stem, data["region"], one["name"], tuple(one["articles"]), *parts))
        except (KeyError, TypeError) as error:
            raise UsageError(f"{file.name}: not a table of examples: {error!r}; see policies/README.md") from error
    return found


def _check_keys(lines: Sequence[Given]) -> None:
    """A misspelt key would leave its default in place, and the example show something else than it says."""
    for line in lines:
        unknown = sorted(line.keys() - _KEYS)
        if unknown:
            raise KeyError(f"{unknown[0]} is no key of an example")
    for number, line in enumerate(lines[1:], start=1):
        if "expect" not in line:
            raise KeyError(f"claim {number} expects nothing")


def with_parameters(example: Example, policies: Policies) -> Policies:
    """The packs with the figures that the example gives as the operator's. Raises PackError for figures nobody needs."""
    if not example.parameters:
        return policies
    given = {name: [{"from": example.since, "value": value}] for name, value in example.parameters.items()}
    return Policies(policies.packs, read_parameters({example.region: given}, policies.packs, f"{example.file}: {example.name}"))


async def run(example: Example, policies: Policies) -> list[str]:
    """Settles an example. Gives what came out otherwise than expected; nothing when all is as expected."""
    if not example.claims:
        return _account(example, policies)
    outcomes = await settle(feed(example), policies)
    differences: list[str] = []
    cited: set[str] = set()
    for number, (line, outcome) in enumerate(zip(example.claims, outcomes, strict=True), start=1):
        cited |= set(outcome["articles"]) | {why["article"] for why in outcome["reasons"] if "article" in why}
        expected = {"pooled": "0.00"} | dict.fromkeys(FUNDS, "0.00") | dict(line["expect"])
        for name, value in expected.items():
            shown = _shown(outcome, name)
            if not _same(name, shown, value):
                differences.append(f"claim {number}: {name} is {shown}, expected {value}")
    differences += [f"{article} is not applied" for article in example.articles if article not in cited]
    return differences


def _account(example: Example, policies: Policies) -> list[str]:
    worked_out: list[tuple[str, Given, Any]] = [
        ("credit", line, account_examples.credited(line, example.region, policies)) for line in example.credits
    ]
    worked_out += [("leaving", line, account_examples.left(line, example.region, policies)) for line in example.leavings]
    worked_out += [("payment", line, payment_examples.paid(line, example.region, policies)) for line in example.payments]
    differences = [f"{what} {line} is {came}" for what, line, came in worked_out if came != line["expect"]]
    cited = account_examples.cited(example.region, policies) | payment_examples.cited(example.region, policies)
    return differences + [f"{article} is not applied" for article in example.articles if article not in cited]


async def settle(lines: Sequence[Given], policies: Policies) -> list[dict[str, Any]]:
    """The outcomes of a feed's submissions. Raises UsageError for a register line that cannot be read."""
    replay = Replay(policies)
    items = [item_of(n, json.dumps(line, ensure_ascii=False, default=str).encode()) for n, line in enumerate(lines)]
    outcomes: list[dict[str, Any]] = []
    for chunk in chunks(items):
        done = await replay.settle(chunk)
        if done.faults:
            raise UsageError(f"the example makes a line that cannot be settled: {done.faults[0]}")
        outcomes += [json.loads(item.value) for item in done.outcomes]
    return outcomes


def feed(example: Example) -> list[Given]:
    """The example as a feed: register lines first, then its claims and reversals."""
    register: dict[str, Given] = {}
    submissions: list[Given] = []
    statuses: dict[date, str] = {}
    for number, line in enumerate(example.claims, start=1):
        if "reverse" in line:
            submissions.append(_reversal(submissions[int(line["reverse"]) - 1], number))
            continue
        merged = {**example.given, **line}
        for institution in _institutions(example.region, merged):
            register[institution["institution_id"]] = institution
        status = statuses.setdefault(merged["day"], merged.get("status", "active"))
        if status != merged.get("status", "active"):
            raise UsageError(f"{example.name}: claim {number} has another status than one of the same day")
        submissions.append(_use(merged, number) if "use" in merged else _claim(merged, number))
    extra = [*example.given.get("register", ())]
    if "account" in example.given:
        credit = {"credit_no": "K1", "member_id": "M1", "amount": example.given["account"], "reason": "worked example"}
        extra.append({"type": "account_credit", "month": "2022-01", **credit})
    return [*register.values(), *_members(example, statuses), *extra, *submissions]


def _members(example: Example, statuses: Mapping[date, str]) -> Iterator[Given]:
    """The member's history: the status of each day on which there is a claim."""
    given = example.given
    lines = [{**given, **line} for line in example.claims if "reverse" not in line]
    benefits = {line.get("benefit", "ordinary"): line for line in reversed(lines)}
    qualifications = [
        {"benefit": benefit, "valid_from": _EVER}
        | ({"institution_id": _institution_id(line), "doctor_id": "D1"} if benefit.startswith("special_drug:") else {})
        for benefit, line in sorted(benefits.items())
        if benefit not in _UNQUALIFIED and given.get("qualified", True)
    ]
    start = given.get("valid_from", date(2000, 1, 1))
    for day, status in {start: given.get("status", "active"), **dict(sorted(statuses.items()))}.items():
        if day < start:
            continue
        yield {
            "type": "member",
            "member_id": "M1",
            "region": example.region,
            "status": status,
            "employment": given.get("employment", "employee"),
            "sector": "enterprise",
            "valid_from": day,
            "supplements": list(given.get("supplements", ())),
            "qualifications": qualifications,
        } | ({"covered_to": given["covered_to"]} if "covered_to" in given else {})


def _institutions(region: str, line: Given) -> Iterator[dict[str, Any]]:
    """The institution of a claim, with its host and the prescriber where there are any."""
    kind, level = line.get("kind", "hospital"), _text(line.get("level", 2))
    made: dict[str, Any] = {
        "type": "institution",
        "institution_id": _institution_id(line),
        "region": line.get("in", region),
        "kind": kind,
        "level": level,
        "designated_from": _EVER,
        "pooled_outpatient": line.get("pooled_outpatient", True),
        "networked": line.get("networked", True),
    }
    if not line.get("designated", True):
        made["designated_to"] = _EVER
    if "host" in line:
        made["host_institution_id"] = f"H-{line['host']}"
    yield made
    bare = {name: value for name, value in made.items() if name != "host_institution_id"}
    for role, letter in (("host", "H"), ("prescriber", "P"), ("prescriber_host", "H")):
        if role in line:
            yield bare | {"institution_id": f"{letter}-{line[role]}", "kind": "hospital", "level": _text(line[role])}
    if "prescriber_host" in line:
        online = {"institution_id": f"P-internet-{line['prescriber_host']}", "kind": "internet", "level": "none"}
        yield bare | online | {"host_institution_id": f"H-{line['prescriber_host']}"}


def _institution_id(line: Given) -> str:
    named = line.get("at")
    return str(named) if named else f"I-{line.get('kind', 'hospital')}-{_text(line.get('level', 2))}"


def _claim(line: Given, number: int) -> dict[str, Any]:
    in_scope, pre_self_pay = line["in_scope"], line.get("pre_self_pay", "0.00")
    made: dict[str, Any] = {
        "type": "claim",
        "claim_no": f"C{number}",
        "institution_id": _institution_id(line),
        "member_id": "M1",
        "benefit": line.get("benefit", "ordinary"),
        "channel": line.get("channel", "internet" if line.get("kind") == "internet" else "direct"),
        "emergency": line.get("emergency", False),
        "doctor_id": line.get("doctor", "D1"),
        "visited_at": f"{line['day']}T09:00:00+08:00",
        "submitted_at": f"{line.get('submitted', line['day'])}T10:00:00+08:00",
        "total": yuan(fen(in_scope) + fen(pre_self_pay)),
        "own_paid": "0.00",
        "over_limit": "0.00",
        "pre_self_pay": pre_self_pay,
        "in_scope": in_scope,
        "use_account": line.get("use_account", False),
    }
    if "prescriber" in line:
        made["prescribed_by"] = f"P-{line['prescriber']}"
    if "prescriber_host" in line:
        made["prescribed_by"] = f"P-internet-{line['prescriber_host']}"
    for name in ("excluded_as", "family_payer", "insured_region"):
        if name in line:
            made[name] = line[name]
    return made


def _use(line: Given, number: int) -> dict[str, Any]:
    made = {
        "type": "account_use",
        "use_no": f"C{number}",
        "institution_id": _institution_id(line),
        "member_id": "M1",
        "purpose": line["use"],
        "amount": line["amount"],
        "used_at": f"{line['day']}T09:00:00+08:00",
    }
    return made | ({"for_member": line["for"]} if "for" in line else {})


def _reversal(claim: Given, number: int) -> dict[str, Any]:
    at = f"{claim['visited_at'][:10]}T1{number % 10}:30:00+08:00"
    names = {name: claim[name] for name in ("claim_no", "institution_id")}
    return {"type": "reversal", **names, "reversed_at": at, "reason": "worked example"}


def _text(value: object) -> str:
    return str(value)


def _shown(outcome: Given, name: str) -> Any:
    if name == "reasons":
        return [why["code"] for why in outcome["reasons"]]
    if name == "because":
        return [why.get("article") for why in outcome["reasons"]]
    if name == "needs":
        return " ".join(why["en"] for why in outcome["reasons"])
    return outcome.get(name, outcome["after"].get(name))


def _same(name: str, shown: Any, expected: Any) -> bool:
    if name in {"needs", "because"}:
        return bool(expected in shown)
    if name.endswith("_count"):
        return bool(shown == int(expected))
    return bool(shown == expected)
