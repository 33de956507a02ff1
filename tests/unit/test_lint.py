"""Lint catches every kind of broken pack (tests/broken_policies), and names file, place, fault and remedy."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from adjudication_cases import CANGZHOU, KASHGAR, PACKS

from shared.policy import PackError, Policies
from shared.policy.reading import MAX_BYTES, MAX_DEPTH, read_yaml

BROKEN = sorted((Path(__file__).parents[1] / "broken_policies").glob("*.yaml"))


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_a_broken_pack_is_refused_with_the_message_that_mends_it(file: Path, tmp_path: Path) -> None:
    case: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    text = (PACKS / case["pack"]).read_text(encoding="utf-8")
    assert case["replace"] in text, "the broken pack is made from a place that is no longer there"
    (tmp_path / case["pack"]).write_text(text.replace(case["replace"], case["with"], 1), encoding="utf-8")
    with pytest.raises(PackError) as refused:
        Policies.load(tmp_path)
    faults = [str(fault) for fault in refused.value.faults]
    assert any(case["expect"] in fault for fault in faults), faults
    assert all(fault.startswith(f"{case['pack']}: ") for fault in faults)
    assert len(faults) <= 2, faults


VERSIONS = [
    ("2023-06-30", "2023-07-02", "versions[1].from: leaves a hole after 2023-06-30"),
    ("2023-06-30", "2023-06-30", "versions[1].from: overlaps version 2022"),
    (None, "2023-07-01", "versions[1].from: overlaps version 2022"),
    ("2021-06-30", "2021-07-01", "versions[0].to: to is before from"),
]


@pytest.mark.parametrize(("to", "then", "expected"), VERSIONS)
def test_versions_may_neither_overlap_nor_leave_a_hole(to: str | None, then: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(PackError, match=expected.replace("[", r"\[")):
        Policies.load(two_versions(tmp_path, to, then))


def test_versions_that_follow_each_other_day_by_day_are_both_in_force(tmp_path: Path) -> None:
    policies = Policies.load(two_versions(tmp_path, "2023-06-30", "2023-07-01"))
    days = [date(2021, 12, 31), date(2022, 1, 1), date(2023, 6, 30), date(2023, 7, 1)]
    found = [policies.on(CANGZHOU, day) for day in days]
    assert [None if version is None else version.ref.version for version in found] == [None, "2022", "2022", "2023"]


def test_a_figure_may_end_with_the_last_day_there_is(tmp_path: Path) -> None:
    text = (PACKS / "653100-kashgar.yaml").read_text(encoding="utf-8")
    text = text.replace("- {value: 3000,", "- {to: 9999-12-31, value: 3000,", 1)
    (tmp_path / "pack.yaml").write_text(text, encoding="utf-8")
    assert Policies.load(tmp_path).on(KASHGAR, date(2023, 1, 1)) is not None


def two_versions(directory: Path, to: str | None, then: str) -> Path:
    text = (PACKS / "130900-cangzhou.yaml").read_text(encoding="utf-8")
    head, mark, body = text.partition("versions:\n")
    first = body if to is None else body.replace("    from: 2022-01-01\n", f"    from: 2022-01-01\n    to: {to}\n", 1)
    second = body.replace('version: "2022"', 'version: "2023"').replace("from: 2022-01-01", f"from: {then}", 1)
    (directory / "pack.yaml").write_text(head + mark + first + second, encoding="utf-8")
    return directory


PARAMETERS = [
    ("'999999': {x: [{from: 2022-01-01, value: 1}]}", "999999: no pack for this region; one of 130900"),
    ("130900: {pooled_cap: [{from: 2022-01-01, value: 1}]}", "130900.pooled_cap: nothing in the pack needs it; one of"),
    ("130900: {pooled_annual_cap: [{value: 1}]}", "130900.pooled_annual_cap[0].from: Field required"),
    ("130900: {'chronic:M1.ratio': [{from: 2022-01-01, value: 170}]}", "[0].value: 170 percent is more than 100"),
    ("653100: {inpatient_ratio: [{from: 2022-01-01, value: [{level: ['4'], value: 1}]}]}", "level[0]"),
    ("130900: {pooled_annual_cap: [{from: 2022-01-01, value: 1}, {from: 2022-01-01, value: 2}]}", "from the same day"),
    ("130900: {pooled_annual_cap: [{from: 0, value: 1}]}", "130900.pooled_annual_cap[0].from: not a day: write it as 2022-08-01"),
    ("130900: {pooled_annual_cap: [{from: 20220801, value: 1}]}", "[0].from: not a day"),
    ("130900: {pooled_annual_cap: [{from: '2022-02-30', value: 1}]}", "[0].from: day is out of range for month"),
    ("130900: {pooled_annual_cap: [{from: 2022-01-02, to: 2022-01-01, value: 1}]}", "[0].to: to is before from"),
    ("130900: {pooled_annual_cap: [{from: 2022-01-01, value: 1e20}]}", "[0].value: 100000000000000000000 yuan is more than 1000"),
    ("130900: {pooled_annual_cap: [{from: 2022-01-01, value: 1e400}]}", "130900.pooled_annual_cap[0].value: no figure has so"),
    ("130900: {pooled_annual_cap: [{from: 2022-01-01, value: 1e-9999999}]}", "[0].value: no figure has so many digits"),
    (f"130900: {{pooled_annual_cap: [{{from: 2022-01-01, value: {'9' * 5000}}}]}}", "[0].value: no figure has so many digits"),
    ("653100: {inpatient_ratio: [{from: 2022-01-01, value: [{value: 1e400}]}]}", "inpatient_ratio[0].value[0].value: no figure"),
    (
        "653100: {inpatient_ratio: [{from: 2022-08-01, value: [{level: ['1'], value: 90}, {value: 80}]}]}",
        "653100.inpatient_ratio[0].value: 2 rows for active members at level 1 on 2022-08-01; narrow their level or status",
    ),
    (
        "653100: {inpatient_ratio: [{from: 2022-08-01, value: [{status: retired, value: 9}, {level: ['3'], value: 8}]}]}",
        "653100.inpatient_ratio[0].value: 2 rows for retired members at level 3",
    ),
]


@pytest.mark.parametrize(("text", "expected"), PARAMETERS)
def test_wrong_parameters_are_refused_naming_the_place(text: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PackError) as refused:
        Policies.load(PACKS, file)
    assert any(expected in str(fault) for fault in refused.value.faults), refused.value
    assert len(refused.value.faults) == 1, "one fault is told once"


def test_a_directory_without_packs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="no pack"):
        Policies.load(tmp_path)
    with pytest.raises(PackError, match="cannot be read"):
        Policies.load(PACKS, tmp_path / "nothing.yaml")


def test_a_pack_that_would_not_be_read_for_its_name_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes((PACKS / "653100-kashgar.yaml").read_bytes())
    (tmp_path / "b.yml").write_bytes((PACKS / "130900-cangzhou.yaml").read_bytes())
    with pytest.raises(PackError, match=r"b.yml: \(whole file\): is not read: a pack's name ends in .yaml; rename it"):
        Policies.load(tmp_path)


def test_a_region_has_one_pack(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_bytes((PACKS / "653100-kashgar.yaml").read_bytes())
    with pytest.raises(PackError, match=f"{KASHGAR} has another pack"):
        Policies.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\n" * MAX_BYTES, "larger than"),
        (b"[" * (MAX_DEPTH + 1), "nested deeper"),
        (b"a: &x [*x]", "anchors explode"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "empty"),
        (b"a: !!python/object/apply:os.getcwd []", "not readable as YAML"),
        (b"{[1]: 2}", "not a plain word"),
        (b"a: 1\nb: 2023-02-30", "not readable as YAML: 2023-02-30: day is out of range for month in .*, line 2, column 4"),
        (b"x: 1\n---\ny: 2", "not readable as YAML"),
    ],
)
def test_yaml_is_read_within_bounds(content: bytes, expected: str) -> None:
    with pytest.raises(PackError, match=expected):
        read_yaml(content, "file.yaml")


def test_equal_rules_have_equal_hashes_however_they_are_written(tmp_path: Path) -> None:
    text = (PACKS / "130900-cangzhou.yaml").read_text(encoding="utf-8")
    same = text.replace("value: 100,", "value: 100.00,").replace("# 沧州市", "# Another comment")
    other = text.replace("value: 100,", "value: 101,")
    hashes = []
    for number, content in enumerate((text, same, other)):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "pack.yaml").write_text(content, encoding="utf-8")
        hashes.append(Policies.load(directory).versions[0].ref.hash)
    assert hashes[0] == hashes[1] != hashes[2]


POINTS = """            add:
              - {status: retired, value: 10, unit: points, article: "130900:10", to: 2023-12-31}
              - {status: retired, needs: "{benefit}.points", unit: points, article: "130900:10", from: 2024-01-01}
"""
ABOVE = [
    ([(2022, 90)], [], None),
    ([(2022, "90.01")], [], "90.01 % and 10 points are more than 100 % for retired members at level 1 on 2022-01-01; lower"),
    ([(2022, 80), (2023, 95)], [], "95 % and 10 points are more than 100 % for retired members at level 1 on 2023-01-01"),
    ([(2022, 80), (2024, 95)], [], None),  # the points on top of it are not supplied: no claim is paid by it
    ([(2022, 80), (2025, 95)], [(2024, 6)], "95 % and 6 points are more than 100 % for retired members at level 1 on 2025"),
    ([(2022, [{"status": "active", "value": 95}])], [], None),
    ([(2022, [{"level": ["3"], "value": 95}, {"level": ["1"], "value": 80}])], [], "retired members at level 3 on 2022"),
]


@pytest.mark.parametrize(("ratios", "points", "expected"), ABOVE)
def test_a_supplied_ratio_is_refused_that_comes_above_the_whole_with_the_packs_points(
    ratios: list[Any], points: list[Any], expected: str | None, tmp_path: Path
) -> None:
    """Started with it, the services would set aside each claim that it reaches."""
    needed = '              - {needs: "{benefit}.ratio", unit: percent, article: "130900:10"}\n'
    text = (PACKS / "130900-cangzhou.yaml").read_text(encoding="utf-8")
    assert needed in text
    (tmp_path / "pack.yaml").write_text(text.replace(needed, needed + POINTS, 1), encoding="utf-8")
    given = {
        f"chronic:M1.{called}": [{"from": f"{year}-01-01", "value": value} for year, value in rows]
        for called, rows in (("ratio", ratios), ("points", points))
        if rows
    }
    file = tmp_path / "figures"
    file.write_text(json.dumps({"130900": given}), encoding="utf-8")
    if expected is None:
        assert Policies.load(tmp_path, file).serves("130900")
        return
    with pytest.raises(PackError) as refused:
        Policies.load(tmp_path, file)
    [fault] = refused.value.faults
    assert (fault.file, fault.path) == ("figures", "130900.chronic:M1.ratio")
    assert expected in str(fault)
    assert fault.remedy == "lower it, or the other of the two in benefits.chronic of version 2022"
