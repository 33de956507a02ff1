"""Fifty members of a family on one account, and each on a neighbour's: at the same moment, over two workers, to the last fen."""

from collections.abc import Iterator

import pytest
from deployment import Deployment, Line, deployment, until
from servers import LocalServers

REGION, PAYER, FAMILY = "130900", "P", [f"M{number:02d}" for number in range(50)]
SAVED_BY_PAYER, SAVED_BY_EACH = 100_000, 3_000  # fen; the family asks for many times as much
CLAIMS_EACH = 8


def neighbour(member: str) -> str:
    """Who pays for him too: in a ring, so that whoever locks accounts in an order of his own meets another who does."""
    return FAMILY[(FAMILY.index(member) + 1) % len(FAMILY)]


def register() -> Iterator[Line]:
    yield {
        "type": "institution", "institution_id": "H1", "region": REGION, "kind": "hospital", "level": "2",
        "designated_from": "2022-01-01", "pooled_outpatient": True, "networked": True,
    }  # fmt: skip
    for name in (PAYER, *FAMILY):
        yield {
            "type": "member", "member_id": name, "region": REGION, "status": "active", "employment": "employee",
            "sector": "enterprise", "valid_from": "2022-01-01",
        }  # fmt: skip
        saved = SAVED_BY_PAYER if name == PAYER else SAVED_BY_EACH
        yield {
            "type": "account_credit", "credit_no": "1", "member_id": name, "amount": f"{saved // 100}.00", "month": "2023-01",
            "reason": "x",
        }  # fmt: skip
    for name in FAMILY:
        for holder, relation in ((PAYER, "child"), (neighbour(name), "spouse")):
            yield {
                "type": "family_link", "holder_id": holder, "beneficiary_id": name, "relation": relation,
                "authorized_from": "2022-01-01",
            }  # fmt: skip


def claim(member: str, number: int) -> Line:
    payer = PAYER if (number + FAMILY.index(member)) % 2 else neighbour(member)
    return {
        "type": "claim", "claim_no": f"{member}-{number}", "institution_id": "H1", "member_id": member, "benefit": "ordinary",
        "channel": "direct", "emergency": False, "use_account": number % 4 == 0, "family_payer": payer, "total": "100.00",
        "own_paid": "0.00", "over_limit": "0.00", "pre_self_pay": "0.00", "in_scope": "100.00",
        "visited_at": "2023-05-01T09:00:00+08:00", "submitted_at": "2023-05-01T10:00:00+08:00",
    }  # fmt: skip


def reversal(of: Line) -> Line:
    return {
        "type": "reversal", "claim_no": of["claim_no"], "institution_id": "H1", "reversed_at": "2023-05-01T11:00:00+08:00",
        "reason": "退费",
    }  # fmt: skip


@pytest.fixture
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start("intake", "eligibility", "adjudication", "crossregion")
        made.start("account", "account", GONGJI_BATCH_MAX="7")  # many transactions at once, each with several payers
        until(lambda: workers(made) == 2, "both workers of account to have partitions")
        made.register(list(register()))
        yield made


def workers(running: Deployment) -> int:
    query = "select count(distinct owner) from runtime.lease where service = 'account' and topic = 'claims.adjudicated'"
    return int(running.rows(query)[0][0])


def balances(running: Deployment) -> dict[str, int]:
    return dict(running.rows("select member_id, balance from account.balance"))


def test_fifty_on_one_account_never_overdraw_never_deadlock_and_give_everything_back(running: Deployment) -> None:
    claims = [claim(name, number) for number in range(CLAIMS_EACH) for name in FAMILY]
    running.send(claims)
    running.drain()
    assert workers(running) == 2
    query = "select split_part(debit, ':', 2), sum(amount)::bigint from account.posting where debit like %s group by 1"
    given = dict(running.rows(query, "personal:%"))
    assert given.pop(PAYER) == SAVED_BY_PAYER  # to the last fen, and none more
    assert set(given.values()) == {SAVED_BY_EACH}
    assert set(balances(running).values()) == {0}
    family = running.rows("select sum(family_account)::bigint, sum(account)::bigint from account.outcome where kind = 'claim'")[0]
    assert sum(family) == SAVED_BY_PAYER + len(FAMILY) * SAVED_BY_EACH

    more = [claim(name, CLAIMS_EACH + number) for number in range(2) for name in FAMILY]
    mixed: list[Line] = []
    for number, one in enumerate(claims):  # while money comes back others ask for it
        mixed.append(reversal(one))
        mixed += more[number // 4 : number // 4 + 1] if number % 4 == 0 else []
    running.send(mixed)
    running.drain()
    assert min(balances(running).values()) >= 0
    running.send([reversal(one) for one in more])
    running.drain()
    assert balances(running) == {PAYER: SAVED_BY_PAYER} | dict.fromkeys(FAMILY, SAVED_BY_EACH)

    assert running.rows("select deadlocks from pg_stat_database where datname = current_database()") == [(0,)]
    assert running.rows("select count(*) from runtime.quarantine") == [(0,)]
    running.audit()
