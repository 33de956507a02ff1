"""A small day, made up from a seed: a register, then bills with everything that happens to bills.

A member's lines come in by one partition, so that their order, and with it every outcome, does not hang on chance. Two
kinds do not: *doubled* claims come by two partitions at once, and *contested* ones get there two different answers, of which
either will do.
"""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from shared.identity import claim_key
from shared.money import yuan

Line = dict[str, Any]

HOSPITAL, CLINIC, AWAY = "H1", "K1", "H2"  # the last in another region
_SERVICES = ("intake", "eligibility", "adjudication", "account")
FLAVOURS = ("decide", "load", "record")


class Sent(NamedTuple):
    """A line with the partition of claims.submitted that it comes by."""

    partition: int
    value: bytes


class Curse(NamedTuple):
    """What fails on a claim until somebody mends it: ``decide`` or ``load`` raises, or a constraint refuses its row."""

    service: str
    flavour: str


@dataclass
class Feed:
    """The lines, and what is known of them beforehand."""

    register: list[Line] = field(default_factory=list)
    submitted: list[Sent] = field(default_factory=list)
    contested: list[str] = field(default_factory=list)  # claim numbers (at HOSPITAL) with two right answers
    loose: set[str] = field(default_factory=set)  # the members these belong to
    unreadable: int = 0
    curses: dict[str, Curse] = field(default_factory=dict)  # claim key -> what fails on it


def make(seed: int, partitions: int) -> Feed:
    """The feed of a seed: 3 to 7 members with some dozen lines."""
    return _Day(Random(f"feed {seed}"), partitions).feed


class _Day:
    def __init__(self, rng: Random, partitions: int) -> None:
        self._rng = rng
        self._partitions = partitions
        self._numbers = 0
        self.feed = Feed()
        members = [f"M{rng.randrange(10**6):06}" for _ in range(rng.randint(2, 5))]  # random: they spread over the partitions
        solos = [f"S{rng.randrange(10**6):06}" for _ in range(rng.randint(1, 3))]
        self._payers = members[:2]
        self.feed.register += [_institution(HOSPITAL, "130900"), _institution(CLINIC, "130900", kind="community"),
                               _institution(AWAY, "440800")]  # fmt: skip
        for member in (*members, *solos):
            self._enrol(member)
        queues = [self._bills(member) for member in members] + [self._solo(solo) for solo in solos]
        while queues:  # shuffled, each in its order
            queue = rng.choice(queues)
            self.feed.submitted.append(queue.pop(0))
            if not queue:
                queues.remove(queue)
        if rng.random() < 0.3:
            self.feed.unreadable += 1
            at = rng.randint(0, len(self.feed.submitted))
            self.feed.submitted.insert(at, Sent(rng.randrange(partitions), b'\xff{"claim_no":'))

    def _enrol(self, member: str) -> None:
        rng = self._rng
        self.feed.register.append({
            "type": "member", "member_id": member, "region": "130900", "valid_from": "2020-01-01",
            "status": rng.choice(("active", "retired")), "employment": "employee", "sector": "enterprise",
        })  # fmt: skip
        if member.startswith("M"):
            # A payer of others has more than is ever asked for, so that nobody's share hangs on who came first.
            rich = member in self._payers
            amount = "100000.00" if rich else yuan(rng.choice((0, 5_000, 30_000)))
            self.feed.register.append({
                "type": "account_credit", "credit_no": f"C-{member}", "member_id": member, "amount": amount,
                "month": "2023-05", "reason": "monthly",
            })  # fmt: skip
            for payer in self._payers:
                if payer != member:
                    self.feed.register.append({
                        "type": "family_link", "holder_id": payer, "beneficiary_id": member, "relation": "child",
                        "authorized_from": "2020-01-01",
                    })  # fmt: skip

    def _bills(self, member: str) -> list[Sent]:
        """What one member's visits send in, in order: nothing but his own numbers."""
        rng, partition = self._rng, self._rng.randrange(self._partitions)
        lines: list[Line] = []
        for _ in range(rng.randint(1, 4)):
            bill = self._bill(member)
            payer = rng.choice(self._payers)
            if rng.random() < 0.6 and payer != member:
                bill["family_payer"] = payer
            lines += self._story(bill)
        if rng.random() < 0.3:
            use: Line = {
                "type": "account_use", "use_no": self._number(), "institution_id": CLINIC, "member_id": member,
                "purpose": "drugs", "amount": yuan(rng.randint(100, 9_000)), "used_at": "2023-06-15T09:00:00+08:00",
            }  # fmt: skip
            lines.append(use)
            if rng.random() < 0.4:
                lines.append(_reversal({"claim_no": use["use_no"], "institution_id": CLINIC}))
        return [Sent(partition, _bytes(line)) for line in lines]

    def _story(self, bill: Line) -> list[Line]:
        """A bill with what comes before and after it."""
        chance = self._rng.random
        if chance() < 0.08:
            return [bill | {"total": "no sum"}, bill] if chance() < 0.5 else [bill | {"own_paid": "1.23"}, bill]
        if chance() < 0.06:
            return [_reversal(bill), bill]
        story = [bill]
        if chance() < 0.25:
            story.append(bill)
        if chance() < 0.12:
            story.append(bill | {"emergency": True})
        if chance() < 0.25:
            story += [_reversal(bill)] * self._rng.choice((1, 1, 2))
        if chance() < 0.1:
            story.append(bill)
        return story

    def _solo(self, member: str) -> list[Sent]:
        """A member with one number: whatever its fate, nobody else's hangs on it."""
        rng, here = self._rng, self._rng.randrange(self._partitions)
        there = (here + 1) % self._partitions
        bill = self._bill(member)
        kind = rng.choice(("doubled", "contested reversal", "contested content", "cursed", "cursed"))
        if kind == "doubled":
            return [Sent(here, _bytes(bill)), Sent(there, _bytes(bill))]
        if kind.startswith("contested"):
            self.feed.contested.append(bill["claim_no"])
            self.feed.loose.add(member)
            other = _reversal(bill) if kind.endswith("reversal") else bill | {"emergency": True}
            return [Sent(here, _bytes(bill)), Sent(there, _bytes(other))]
        curse = Curse(rng.choice(_SERVICES), rng.choice(FLAVOURS))
        self.feed.curses[claim_key(bill["institution_id"], bill["claim_no"])] = curse
        lines = [bill, bill] if rng.random() < 0.5 else [bill]
        if rng.random() < 0.6:
            lines.append(_reversal(bill))
        return [Sent(here, _bytes(line)) for line in lines]

    def _bill(self, member: str) -> Line:
        rng = self._rng
        place = HOSPITAL if member.startswith("S") else rng.choice((HOSPITAL, HOSPITAL, CLINIC, AWAY))
        total = rng.choice((1_000, 9_900, 30_000, 120_000, 600_000))
        own = total // 10 if rng.random() < 0.3 else 0
        bill: Line = {
            "type": "claim", "claim_no": self._number(), "institution_id": place, "member_id": member, "benefit": "ordinary",
            "channel": "direct", "emergency": False, "use_account": rng.random() < 0.8,
            "visited_at": f"2023-06-{rng.randint(1, 15):02d}T09:30:00+08:00", "submitted_at": "2023-06-15T10:00:00+08:00",
            "total": yuan(total), "own_paid": yuan(own), "over_limit": "0.00", "pre_self_pay": "0.00",
            "in_scope": yuan(total - own),
        }  # fmt: skip
        if place == AWAY:
            bill["insured_region"] = "130900"
        return bill

    def _number(self) -> str:
        self._numbers += 1
        return f"N{self._numbers}"


def _institution(name: str, region: str, kind: str = "hospital") -> Line:
    return {
        "type": "institution", "institution_id": name, "region": region, "kind": kind, "level": "2",
        "designated_from": "2020-01-01", "pooled_outpatient": True, "networked": True,
    }  # fmt: skip


def _reversal(bill: Line) -> Line:
    named = {name: bill[name] for name in ("claim_no", "institution_id")}
    return {"type": "reversal", "reversed_at": "2023-06-15T11:00:00+08:00", "reason": "refund"} | named


def _bytes(line: Line) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode()
