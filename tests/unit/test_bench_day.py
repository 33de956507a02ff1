"""The benchmark's day: cut into pieces without loss, crowded as asked; and how growth is set beside the first run."""

import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from services.bench import bulk, cli, counter, growth
from services.bench.day import Asked, Feed
from services.bench.load import Prepared, number_of
from shared.errors import UsageError

ASKED = Asked(rate=20, minutes=1, backlog=1_000, members=200, seed=3, floors=False, stored=700, profile=True)


def pieces(feed: Feed) -> list[list[Prepared]]:
    return [feed.warm_up, [one for piece in feed.stored() for one in piece], feed.steady, feed.backlog, feed.watched]


@pytest.mark.parametrize("crowd", ["", "institution", "member"])
def test_a_day_is_cut_into_pieces_of_the_sizes_asked_for_and_nothing_is_sent_twice(crowd: str) -> None:
    feed, again = Feed(ASKED._replace(crowd=crowd), 8), Feed(ASKED._replace(crowd=crowd), 8)
    cut = pieces(feed)
    assert [len(piece) for piece in cut] == [400, 700, 1_200, 1_000, 300]
    assert feed.size == 3_600
    assert again.steady == cut[2]  # also where nobody asked for what is settled before
    assert pieces(again)[2:] == cut[2:]
    assert feed.register == again.register
    assert bool(feed.crowd) == bool(crowd)


def test_one_institution_sends_sixty_of_a_hundred_lines() -> None:
    feed = Feed(ASKED._replace(crowd="institution"), 8)
    for piece in pieces(feed):
        [(most, count)] = Counter(msgspec.json.decode(one.value)["institution_id"] for one in piece).most_common(1)
        assert 0.6 <= count / len(piece) < 0.65
        assert all((number_of(one.value) or ("",))[0] == most for one in piece if number_of(one.value) in feed.crowd)


def test_one_member_has_his_claims_in_the_steady_load() -> None:
    feed = Feed(ASKED._replace(crowd="member"), 8)
    crowded = [one for one in feed.steady if number_of(one.value) in feed.crowd]
    assert len(crowded) == pytest.approx(600, rel=0.02)  # as many as others: there is not room for five thousand
    assert len({msgspec.json.decode(one.value)["member_id"] for one in crowded}) == 1


def test_growth_is_told_against_the_first_run() -> None:
    run = {"cpu_us": {"intake": 10.4, "kafka": 5.0}, "audit_s": 3, "steady_rate": 99, "p50_ms": 5}
    first = run | {"variation": "as it is", "p99_ms": 10, "others_p99_ms": 10, "drain_rate": 200}
    then = run | {"variation": "more", "p99_ms": 30, "others_p99_ms": 12, "drain_rate": 100}
    *_, row = growth.rows([first, then])
    assert row == ("more", "99", "5", "30", "12", "100", "15", "3", "1.20", "0.50")
    assert growth.markdown([first, then]).splitlines()[1].count("---") == len(row)


def test_what_would_not_fit_on_the_disk_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "run", lambda *_: pytest.fail("begun"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=75_000_000_000))
    with pytest.raises(UsageError, match=r"10,000,000 claims stored take some 76 GB .* and 75 are free"):
        growth.run_all(ASKED, ["ten-million"], tmp_path / "bench", print)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"growth": ["members"]}, "--report: a page is made of the whole benchmark only"),
        ({"counter": True}, "--report: a page is made of the whole benchmark only"),
        ({"bulk": 1_000}, "--report: a page is made of the whole benchmark only"),
        ({"growth": ["weight"], "report": None}, "--growth weight: there are partitions, workers"),
    ],
)
def test_what_is_asked_for_wrongly_is_said_before_hours_of_work(
    asked: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((growth, "run_all"), (counter, "run"), (bulk, "run")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("begun"))
    with pytest.raises(UsageError, match=said):
        cli.bench(**{"report": tmp_path / "page.md", "growth": None, "bulk": None} | asked)


def test_all_is_what_takes_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def roomy(place: Path) -> SimpleNamespace:
        assert place.is_dir()  # also at the first run, with nothing there yet
        return SimpleNamespace(free=21_000_000_000)

    monkeypatch.setattr(shutil, "disk_usage", roomy)
    monkeypatch.setattr(growth, "run", lambda asked, *_: {"stored": asked.stored})
    assert (
        max(one["stored"] for one in growth.run_all(ASKED._replace(stored=0), ["all"], tmp_path / "new" / "bench", print))
        == 1_000_000
    )
