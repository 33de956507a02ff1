"""What went along with who moved between cities of these books arrives where he is, also what came late, fen for fen and once."""

from collections.abc import Iterator
from typing import Any

import pytest
from account_command import CANGZHOU, KASHGAR, REGISTER, credit, gongji, member, said
from deployment import Deployment, Line, deployment
from servers import LocalServers

ZHANJIANG = "440800"


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        made.register([REGISTER[0], member("M1", CANGZHOU), member("M2", CANGZHOU), carried("M1"), carried("M2")])
        made.drain()
        yield made


def carried(member_id: str) -> Line:
    return {"type": "account_credit", "credit_no": "1", "member_id": member_id, "amount": "100.00", "month": "2023-01",
            "reason": "carried over"}  # fmt: skip


def bought(running: Deployment, *numbers: str) -> None:
    fields = {"type": "account_use", "institution_id": "H1", "member_id": "M1", "purpose": "own_share", "amount": "10.00"}
    running.send([fields | {"use_no": number, "used_at": "2023-01-10T09:00:00+08:00"} for number in numbers])
    running.drain()


def given_back(running: Deployment, number: str) -> None:
    fields = {"type": "reversal", "institution_id": "H1", "reversed_at": "2023-06-05T09:00:00+08:00", "reason": "r"}
    running.send([fields | {"claim_no": number}])
    running.drain()


def told(running: Deployment, command: str, *arguments: str) -> dict[str, Any]:
    [one] = said(gongji(running, command, *arguments, "--json"))
    return one


def moves(running: Deployment, member_id: str, on: str, to: str, since: str) -> dict[str, Any]:
    """His account is closed before the register knows where he went to."""
    closed = told(running, "close", member_id, "--case", "moved_out_of_province", "--on", on, "--reason", "x")
    running.register([member(member_id, to, valid_from=since)])
    return closed


def brings(running: Deployment, member_id: str) -> str:
    """What is brought; a second time there is nothing."""
    brought = str(told(running, "open", member_id, "--bring", "--reason", "x")["brought"])
    assert nothing_to_bring(running, member_id)
    return brought


def nothing_to_bring(running: Deployment, member_id: str) -> bool:
    done = gongji(running, "open", member_id, "--bring", "--reason", "x")
    return done.returncode == 1 and "there is no balance to bring" in done.stderr


def test_late_money_follows_its_member_from_city_to_city(running: Deployment) -> None:
    bought(running, "U1", "U2", "U3")
    closed = moves(running, "M1", "2023-02-01", KASHGAR, "2023-03-01")
    assert (closed["amount"], closed["to"]) == ("70.00", "transferred")
    given_back(running, "U1")  # comes and is settled before he has an account again
    told(running, "settle", "M1", "--reason", "x")
    assert told(running, "show", "M1")["along"] == [{"region": CANGZHOU, "amount": "80.00"}]
    assert brings(running, "M1") == "80.00"

    given_back(running, "U2")  # comes when he has one
    assert nothing_to_bring(running, "M1")
    told(running, "settle", "M1", "--reason", "x")
    assert told(running, "open", "M1", "--bring", "--dry-run")["brought"] == "10.00"
    assert brings(running, "M1") == "10.00"

    given_back(running, "U3")  # comes and is settled, and he moves on before it is brought
    told(running, "settle", "M1", "--reason", "x")
    moves(running, "M1", "2023-04-01", ZHANJIANG, "2023-05-01")
    assert brings(running, "M1") == "100.00"
    shown = told(running, "show", "M1")
    assert [(e["from_region"], e["amount"]) for e in shown["entries"] if e["kind"] == "opening"] == [
        (CANGZHOU, "80.00"), (CANGZHOU, "10.00"), (CANGZHOU, "10.00"), (KASHGAR, "90.00"),
    ]  # fmt: skip
    assert (shown["closing"], shown["along"], shown["worklist"]) == ("100.00", [], [])


def test_a_balance_that_was_not_brought_before_the_next_closing_went_out_of_these_books(running: Deployment) -> None:
    moves(running, "M2", "2023-02-01", KASHGAR, "2023-03-01")
    told(running, "open", "M2", "--reason", "x")
    moves(running, "M2", "2023-04-01", ZHANJIANG, "2023-05-01")
    told(running, "open", "M2", "--reason", "x")
    assert nothing_to_bring(running, "M2")


def test_a_month_of_the_account_that_was_closed_is_named_so_once_its_member_has_another(running: Deployment) -> None:
    running.register([member("M3", CANGZHOU)])
    moves(running, "M3", "2023-02-01", KASHGAR, "2023-03-01")
    assert credit(running, CANGZHOU, "2023-01")["left_out"] == {"account_closed": 1, "month_of_closed_account": 2}
    told(running, "open", "M3", "--reason", "x")
    assert credit(running, CANGZHOU, "2023-01")["left_out"] == {"month_of_closed_account": 3}


def test_the_books_are_clean(running: Deployment) -> None:
    running.audit()
