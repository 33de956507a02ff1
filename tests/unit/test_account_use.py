"""Who may pay for what from an account, city by city: policy.md, section 4, with the articles."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from account_books import Books, credit, institution, purchase, reversal

from shared.policy import Policies

CITIES = {"cangzhou": "130900", "zhanjiang": "440800", "bazhong": "511900", "kashgar": "653100", "shiyan": "420300"}


@cache
def packs() -> Policies:
    return Policies.load(Path(__file__).parents[2] / "policies")


# purpose, for whom, where -> the city's article, "+" where the account pays, "-" where it refuses
EVERYWHERE = [
    ("own_share", "self", "hospital", "use+"),
    ("own_share", "family", "hospital", "use+"),
    ("own_share", "self", "pharmacy", "use+"),
    ("own_share", "self", "undesignated", "use-"),
    ("drugs", "self", "pharmacy", "use+"),
    ("devices", "family", "pharmacy", "use+"),
    ("consumables", "self", "pharmacy", "use+"),
    ("drugs", "self", "hospital", "use-"),
    ("public_health", "self", "hospital", "never-"),
    ("sport", "self", "hospital", "never-"),
    ("fitness", "family", "hospital", "never-"),
    ("wellness", "self", "hospital", "never-"),
    ("lottery", "self", "hospital", "use-"),
]
ARTICLES = {
    "cangzhou": {"use": "130900:5", "never": "130900:6"},
    "zhanjiang": {"use": "440800:15", "never": "440800:16"},
    "bazhong": {"use": "511900:7", "never": "511900:9"},
    "kashgar": {"use": "653100:6", "never": "653100:8"},
    "shiyan": {"use": "420300:12", "never": "420300:13"},
}
BY_CITY = [
    ("cangzhou", "premium", "family", "hospital", "use-"),
    ("cangzhou", "back_payment", "self", "hospital", "use-"),
    ("cangzhou", "tcm_preventive", "self", "hospital", "use-"),
    ("zhanjiang", "premium", "family", "undesignated", "use+"),
    ("zhanjiang", "premium", "self", "hospital", "use-"),
    ("zhanjiang", "back_payment", "self", "undesignated", "use+"),
    ("zhanjiang", "back_payment", "family", "hospital", "use-"),
    ("zhanjiang", "tcm_preventive", "self", "hospital", "use+"),
    ("zhanjiang", "tcm_preventive", "family", "hospital", "use+"),
    ("zhanjiang", "tcm_preventive", "self", "pharmacy", "use-"),
    ("bazhong", "premium", "self", "undesignated", "use+"),
    ("bazhong", "premium", "family", "hospital", "use+"),
    ("bazhong", "back_payment", "self", "hospital", "use-"),
    ("kashgar", "premium", "self", "hospital", "use+"),
    ("kashgar", "premium", "family", "hospital", "use+"),
    ("kashgar", "tcm_preventive", "self", "hospital", "use-"),
    ("shiyan", "premium", "self", "hospital", "use-"),
    ("shiyan", "back_payment", "self", "hospital", "use-"),
]


@pytest.mark.parametrize(
    ("city", "purpose", "person", "where", "word"),
    [*[(city, *row) for city in CITIES for row in EVERYWHERE], *BY_CITY],
)
async def test_the_matrix_of_use(city: str, purpose: str, person: str, where: str, word: str) -> None:
    region = CITIES[city]
    books = Books(policies=packs())
    await books.add(credit("K1", 3_000))
    place = institution("pharmacy" if where == "pharmacy" else "hospital", region, designated=where != "undesignated")
    whom: dict[str, Any] = {"for_member": "F1", "family_allowed": True} if person == "family" else {}
    [outcome] = await books.settle(purchase("U1", purpose, region=region, care_region=region, institution=place, **whom))
    assert outcome is not None
    article = ARTICLES[city][word[:-1]]
    if word.endswith("+"):
        assert (outcome.outcome, outcome.reasons, outcome.articles) == ("settled", (), (article,))
        assert (outcome.total, outcome.account, outcome.cash) == ("50.00", "30.00", "20.00")
    else:
        assert outcome.outcome == "rejected"
        assert [(one.code, one.article) for one in outcome.reasons] == [("account_use_not_allowed", article)]
        assert (outcome.total, await books.balance("M1")) == ("0.00", 3_000)


async def test_nobody_pays_for_a_person_who_is_not_registered_as_family() -> None:
    books = Books(policies=packs())
    [outcome] = await books.settle(purchase("U1", "own_share", for_member="F1", family_allowed=False))
    assert outcome is not None
    assert (outcome.outcome, outcome.reasons[0].code) == ("rejected", "family_link_missing")


async def test_a_purchase_is_reversible_and_so_is_a_refused_one() -> None:
    books = Books(policies=packs())
    await books.add(credit("K1", 3_000))
    await books.settle(purchase("U1", "own_share"), purchase("U2", "fitness"))
    taken: dict[str, Any] = {"in_scope": 0, "own_paid": -5_000}
    back, nothing = await books.settle(reversal("U1", total=5_000, **taken), reversal("U2", total=5_000, **taken))
    assert back is not None
    assert nothing is not None
    assert (back.outcome, back.total, back.own_paid, back.account) == ("reversed", "-50.00", "-50.00", "-30.00")
    assert (nothing.outcome, nothing.total, nothing.account) == ("reversed", "0.00", "0.00")
    assert [one.code for one in nothing.reasons] == ["account_use_not_allowed"]
    assert await books.balance("M1") == 3_000


async def test_without_rules_in_force_nothing_is_paid() -> None:
    [outcome] = await Books(policies=packs()).settle(purchase("U1", "own_share", region="999999"))
    assert outcome is not None
    assert [one.code for one in outcome.reasons] == ["policy_not_in_force"]
