"""`gongji policy`: lint, show, diff, test and coverage, as a person at the terminal meets them."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from adjudication_cases import PACKS
from pydantic import ValidationError
from typer.testing import CliRunner

from services.law import cli, words
from services.law.texts import Texts
from shared.errors import UsageError
from shared.policy import Policies, Version
from shared.policy.benefits import AfterStep, PoolStep
from shared.policy.pack import PackVersion

EXAMPLES = Path(__file__).parents[1] / "scenarios"
CANGZHOU_FILE = PACKS / "130900-cangzhou.yaml"


def gongji(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """Cangzhou with 55 % for active members."""
    text = CANGZHOU_FILE.read_text(encoding="utf-8")
    file = tmp_path / CANGZHOU_FILE.name
    file.write_text(text.replace("{status: active, value: 50,", "{status: active, value: 55,", 1), encoding="utf-8")
    return file


def test_lint_finds_nothing_in_our_packs_and_says_each_fault_of_a_broken_one(tmp_path: Path) -> None:
    assert gongji("lint", PACKS)[0] == 0
    text = CANGZHOU_FILE.read_text(encoding="utf-8")
    (tmp_path / "pack.yaml").write_text(text.replace("value: 1200", "value: 12"), encoding="utf-8")
    code, said = gongji("lint", tmp_path, "--json")
    assert code == 1
    fault = json.loads(said.splitlines()[0])
    assert fault["file"] == "pack.yaml"
    assert fault["path"] == "versions[0].benefits.ordinary.pool[2]"


def test_lint_checks_the_figures_that_the_services_would_start_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = tmp_path / "figures.yaml"
    figures.write_text("130900: {pooled_annual_cap: [{from: 2022-01-01, value: -1}]}", encoding="utf-8")
    monkeypatch.setenv("GONGJI_PARAMETERS", str(figures))
    code, said = gongji("lint", PACKS)
    assert (code, "figures.yaml: 130900.pooled_annual_cap[0].value: -1 is negative" in said) == (1, True)
    other = tmp_path / "other.yaml"
    other.write_text("130900: {pooled_annual_cap: [{from: 2022-01-01, value: 1}]}", encoding="utf-8")
    assert gongji("lint", PACKS, "--parameters", other)[0] == 0
    monkeypatch.setenv("GONGJI_PARAMETERS", "")
    assert gongji("lint", PACKS)[0] == 0


def test_show_gives_each_figure_with_its_article_and_names_what_the_operator_must_supply() -> None:
    code, said = gongji("show", "440800", "--directory", PACKS)
    assert code == 0
    assert "benefits.ordinary.pool[ratio].table (active, level 1): 60 percent [440800:8]" in said
    assert "needs average_wage_year_before_last (yuan)" in said
    with pytest.raises(UsageError, match="no pack for 999999"):
        gongji("show", "999999", "--directory", PACKS)


def test_diff_says_in_words_what_changes_and_how_much_money_moves(changed: Path, tmp_path: Path) -> None:
    feed = tmp_path / "feed.ndjson"
    feed.write_text("\n".join(FEED) + "\n", encoding="utf-8")
    code, said = gongji("diff", CANGZHOU_FILE, changed, "--feed", feed)
    assert code == 1
    assert said.splitlines() == [
        "~ benefits.ordinary.pool[ratio].table (active): 50 percent [130900:10] -> 55 percent [130900:10]",
        "1 of 2 outcomes differ",
        "pooled: +10.00",
        "cash: -10.00",
    ]
    assert gongji("diff", CANGZHOU_FILE, CANGZHOU_FILE) == (0, "")
    with pytest.raises(UsageError, match="no version 1999"):
        gongji("diff", f"{CANGZHOU_FILE}@1999", changed)


def test_a_later_version_is_tried_on_the_days_of_the_earlier_one_too(tmp_path: Path) -> None:
    head, mark, body = CANGZHOU_FILE.read_text(encoding="utf-8").partition("versions:\n")
    first = body.replace("from: 2022-01-01\n", "from: 2022-01-01\n    to: 2022-12-31\n", 1)
    second = body.replace('version: "2022"', 'version: "2023"', 1).replace("from: 2022-01-01", "from: 2023-01-01", 1)
    dated = second.replace("{status: active, value: 50,", "{from: 2023-01-01, status: active, value: 55,", 1)
    pack, feed = tmp_path / "pack.yaml", tmp_path / "feed.ndjson"
    pack.write_text(head + mark + first + dated, encoding="utf-8")
    feed.write_text(
        "\n".join([*FEED, json.dumps(a_claim(3, "200.00")).replace("2023", "2022"), "garbage"]) + "\n", encoding="utf-8"
    )
    said = gongji("diff", f"{pack}@2022", f"{pack}@2023", "--feed", feed)[1].splitlines()
    assert said[-4:] == ["2 of 3 outcomes differ", "pooled: +15.00", "cash: -15.00", "1 lines without outcome"]
    with pytest.raises(UsageError, match="give an NDJSON file"):
        gongji("diff", pack, pack, "--feed", tmp_path / "nothing.ndjson")


def test_what_moves_is_told_with_the_operators_figures_and_who_lacks_one(tmp_path: Path) -> None:
    old, new = (PACKS / "440800-zhanjiang.yaml", tmp_path / "new.yaml")
    text = old.read_text(encoding="utf-8")
    new.write_text(text.replace("value: 55, unit: percent", "value: 57, unit: percent", 1), encoding="utf-8")
    feed, figures = tmp_path / "feed.ndjson", tmp_path / "figures.yaml"
    lines = [line.replace("130900", "440800").replace("2023-0", "2024-0") for line in FEED]
    feed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    figures.write_text('"440800": {outpatient_cap: [{from: 2024-01-01, value: 2000}]}\n"130900": {}\n', encoding="utf-8")
    without = gongji("diff", old, new, "--feed", feed)[1].splitlines()[1:]
    assert without == ["0 of 2 outcomes differ", "2 rejected for want of the operator's figures: give them with --parameters"]
    given = gongji("diff", old, new, "--feed", feed, "--parameters", figures)[1].splitlines()[1:]
    assert given == ["2 of 2 outcomes differ", "pooled: +6.00", "cash: -6.00"]


def smaller(value: Any) -> Iterator[Any]:
    """The value with one thing left out, or one list turned round, anywhere in it."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield {other: one for other, one in value.items() if other != name}
            yield from ({**value, name: less} for less in smaller(part))
    elif isinstance(value, list):
        if not any(isinstance(part, dict) and "unit" in part for part in value):  # of a table one row holds, in any order
            yield value[::-1]
        for index, part in enumerate(value):
            yield value[:index] + value[index + 1 :]
            yield from ([*value[:index], less, *value[index + 1 :]] for less in smaller(part))


@pytest.mark.parametrize("version", Policies.load(PACKS).versions, ids=lambda version: version.region)
def test_whatever_a_version_leaves_out_or_runs_in_another_order_is_said(version: Version) -> None:
    rules = json.loads(version.content)["rules"]
    whole = PackVersion.model_validate(rules)
    unsaid = []
    for less in smaller(rules):
        with contextlib.suppress(ValidationError):
            other = PackVersion.model_validate(less)
            if other != whole and not words.changes(words.lines(whole), words.lines(other)):
                unsaid.append(less)
    assert unsaid == []


def test_the_examples_fail_with_packs_that_pay_otherwise(changed: Path) -> None:
    for file in PACKS.glob("*.yaml"):
        if file.name != changed.name:
            (changed.parent / file.name).write_bytes(file.read_bytes())
    code, said = gongji("test", changed.parent, "--examples", EXAMPLES)
    assert code == 1
    assert "130900-cangzhou" in said
    assert "pooled is" in said
    assert "511900-bazhong" not in said


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{day: 2023-02-01, levl: 3, in_scope: '160.00', expect: {pooled: '30.00'}}", "levl is no key of an example"),
        ("{day: 2023-02-01, in_scope: '160.00'}", "claim 1 expects nothing"),
    ],
)
def test_an_example_that_would_not_be_what_it_says_is_refused(line: str, told: str, tmp_path: Path) -> None:
    text = f'region: "130900"\nexamples: [{{name: x, articles: ["130900:10"], claims: [{line}]}}]\n'
    (tmp_path / "one.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        gongji("test", PACKS, "--examples", tmp_path)


def test_every_article_is_executed_or_says_why_not_and_what_is_executed_is_shown() -> None:
    code, said = gongji("coverage", PACKS, "--examples", EXAMPLES, "--json")
    assert code == 0
    told = [json.loads(line) for line in said.splitlines()]
    rows, readings = ([one for one in told if "state" in one], [one for one in told if "decision" in one])
    assert len(rows) == 22 + 28 + 26 + 31 + 25
    assert [row["article"] for row in rows if row["state"] in {"unexplained", "data only"}] == []
    assert {row["state"] for row in rows} == {"executable and tested", "not computational"}
    page = gongji("coverage", PACKS, "--examples", EXAMPLES)[1]
    assert "| 130900:10 | executable and tested |" in page
    numbers = {number for pack in Policies.load(PACKS).packs.values() for number in pack.interpretations}
    assert {one["number"] for one in readings} == numbers >= {f"Q{number}" for number in range(1, 49)}
    assert [one["number"] for one in readings if not (one["reason"] and one["since"] and one["settings"])] == []
    assert "| Q18 | 130900, 511900, 653100 | Which months are credited" in page
    assert "| `unknown_item` |" in page


def test_every_cell_of_the_accounts_matrix_and_of_payment_is_shown_by_an_example() -> None:
    told = [json.loads(line) for line in gongji("coverage", PACKS, "--examples", EXAMPLES, "--json")[1].splitlines()]
    cells = [one for one in told if "cell" in one]
    assert [(one["region"], one["cell"], one["says"]) for one in cells if not one["examples"] or not one["article"]] == []
    for region in ("130900", "420300", "440800", "511900", "653100"):
        assert {one["section"] for one in cells if one["region"] == region} == {"use", "credit", "leaving", "payment"}
        assert sum(one["section"] == "use" for one in cells if one["region"] == region) == 11 * 2 + 4
    page = gongji("coverage", PACKS, "--examples", EXAMPLES)[1]
    assert "| 440800 | payment | the year's release |" in page
    assert "**no example**" not in page


def test_a_cell_without_an_example_is_named(tmp_path: Path) -> None:
    """As when somebody adds a case to a pack, and no example."""
    for file in EXAMPLES.glob("*.yaml"):
        kept = [line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if "case: enlisted" not in line]
        (tmp_path / file.name).write_text("".join(kept), encoding="utf-8")
    told = [json.loads(line) for line in gongji("coverage", PACKS, "--examples", tmp_path, "--json")[1].splitlines()]
    assert {(one["cell"], one["region"]) for one in told if "cell" in one and not one["examples"]} == {
        ("enlisted", region) for region in ("130900", "420300", "440800", "511900", "653100")
    }
    page = gongji("coverage", PACKS, "--examples", tmp_path)[1]
    assert "| 440800 | leaving | enlisted | paid_out | 440800:17 | **no example** |" in page


def test_every_article_a_pack_cites_can_be_quoted() -> None:
    texts = Texts.load(PACKS)
    for pack in Policies.load(PACKS).packs.values():
        for document in pack.provenance:
            if document.id == pack.region:
                assert texts.numbers(document.id) == [str(number + 1) for number in range(document.articles)]
    quoted = texts["130900:10"]
    assert quoted is not None
    assert "统筹基金起付标准为100元" in quoted.text
    assert texts["420300:10.4"] == texts["420300:10"]
    assert texts["SIL:30"] is None


MEMBER = {
    "type": "member",
    "member_id": "M1",
    "region": "130900",
    "status": "active",
    "employment": "employee",
    "sector": "enterprise",
    "valid_from": "2020-01-01",
}
INSTITUTION = {
    "type": "institution",
    "institution_id": "I1",
    "region": "130900",
    "kind": "hospital",
    "level": "2",
    "designated_from": "2020-01-01",
    "pooled_outpatient": True,
    "networked": True,
}


def a_claim(number: int, amount: str) -> dict[str, object]:
    return {
        "type": "claim",
        "claim_no": str(number),
        "institution_id": "I1",
        "member_id": "M1",
        "benefit": "ordinary",
        "channel": "direct",
        "emergency": False,
        "visited_at": f"2023-05-0{number}T09:00:00+08:00",
        "submitted_at": "2023-05-09T09:00:00+08:00",
        "total": amount,
        "own_paid": "0.00",
        "over_limit": "0.00",
        "pre_self_pay": "0.00",
        "in_scope": amount,
        "use_account": False,
    }


FEED = [json.dumps(line) for line in (MEMBER, INSTITUTION, a_claim(1, "100.00"), a_claim(2, "200.00"))]


def test_the_shipped_schema_is_that_of_the_format() -> None:
    code, said = gongji("schema")
    assert code == 0
    assert (PACKS / "schema.json").read_text(encoding="utf-8") == said, "run: gongji policy schema > policies/schema.json"


def test_the_vocabulary_page_explains_every_step() -> None:
    page = (PACKS / "README.md").read_text(encoding="utf-8")
    steps = {
        get_args(step.model_fields["step"].annotation)[0]
        for union in (PoolStep, AfterStep)
        for step in get_args(get_args(union)[0])
    }
    assert len(steps) == 11
    assert [step for step in steps if f"| `{step}` |" not in page] == []
