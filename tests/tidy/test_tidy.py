"""Rules about the tree that no other tool checks. Each names what breaks it; the last tests plant a fault for each."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from services.__main__ import command_line
from services.pipeline import PATH
from shared import events
from shared.runtime.points import POINTS
from shared.runtime.telemetry import REGISTRY

ROOT = Path(__file__).resolve().parents[2]

MODULE_LINES, FUNCTION_LINES = 300, 40  # of the program; of tests 400 and 50
TEST_LINES = (400, 50)
LONG_FUNCTIONS = {
    "services/account/outcomes.py": ["outcome_bytes"],  # a row a field
    "services/bench/cli.py": ["bench"],  # a row an option
}
LONG_MODULES = {
    "tests/integration/test_audit_catches.py": "a table of planted breaches, a row a check",
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "models", "misc"}

# Where the law is worked out: modules of these packages that read and write nothing.
LAW = ("services/eligibility", "services/adjudication", "services/account", "shared/policy")
HANDS = {"asyncio", "asyncpg", "json", "logging", "time", "typer", "yaml", "shared.runtime.database", "shared.runtime.step"}
NO_LAW = {
    ("services/account/commands.py", 500): "members in a piece: the size of a message",
    ("services/adjudication/rulebook.py", 256): "compiled plans that are kept",
}
SMALL = 12  # months of a year; what is larger, and no power of ten, is a figure of somebody's policy

SKIPPED = {"__pycache__", "build", "lib", ".git", ".gongji", ".venv"}
TEXTS = {".py", ".sql", ".yaml", ".yml", ".md", ".toml", ".sh", ".xml", ".json", ".jsonl", ".lock", ".txt", ".ini", ""}
# Put together, so that this file does not hold what it looks for.
PLACES_OF_ONE_MACHINE = re.compile(
    r"(?<![\w.*-])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "ho" + r"me/\w+", "opt/wh" + "eels"]) + ")/"
)


def modules(*tops: str) -> list[Path]:
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py") if not SKIPPED & set(path.parts))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def long_functions(source: str, most: int) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > most:
                yield node.name


def is_power_of_ten(number: int) -> bool:
    return str(number).strip("0") == "1"


def is_pure(source: str) -> bool:
    """Whether a module has no input or output of its own."""
    tree = ast.parse(source)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return not imported & HANDS and not any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree))


def policy_figures(source: str) -> list[tuple[int, object]]:
    """Numbers in code (line, value) that look like ratios, sums, dates or deadlines of a policy."""
    tree = ast.parse(source)
    in_slices = {id(node) for one in ast.walk(tree) if isinstance(one, ast.Slice) for node in ast.walk(one)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in in_slices]
    return [(node.lineno, node.value) for node in constants if looks_like_policy(node.value)]


def looks_like_policy(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value > SMALL and not is_power_of_ten(value)
    if isinstance(value, str):
        return bool(re.fullmatch(r"\d+\.\d+|\d+%|\d{4}-\d\d-\d\d", value)) and value not in {"0.00", "0.01"}
    return isinstance(value, float)


def points_reached(source: str) -> list[str]:
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "reach" and isinstance(call.args[0], ast.Constant)
    ]


def verbs_said(text: str) -> set[tuple[str, ...]]:
    """Every ``gongji verb [sub-verb]`` in code of a page: alternatives (a|b) are told apart, arguments left out."""
    said: set[tuple[str, ...]] = set()
    for span in [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]:
        for words in re.findall(r"(?<![\w/-])gongji +((?:[a-z][a-z|]*\b *)+)", span.replace("\\|", "|")):
            first, *rest = words.split()
            for verb in first.split("|"):
                for sub in rest[0].split("|") if rest else [""]:
                    said.add((verb, sub) if sub else (verb,))
    return said


def unknown_verbs(said: Iterable[tuple[str, ...]]) -> list[str]:
    """Verbs that the program does not have. The second word counts where the first is a group."""
    program: Any = typer.main.get_command(command_line())
    unknown = []
    for verb, *rest in sorted(said):
        command = program.commands.get(verb)
        below = getattr(command, "commands", None)
        if command is None or (below is not None and rest and rest[0] not in below):
            unknown.append(" ".join((verb, *rest)))
    return unknown


def texts() -> Iterator[Path]:
    """What is committed, or would be; with git the tree says it, without git the directory."""
    if (ROOT / ".git").exists() and (git := shutil.which("git")):
        listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True)
        if listed.returncode == 0:
            yield from (ROOT / entry for entry in listed.stdout.split("\0") if entry and (ROOT / entry).is_file())
            return
    for path in ROOT.rglob("*"):
        if path.is_file() and path.suffix in TEXTS and not SKIPPED & set(path.relative_to(ROOT).parts):
            yield path


def test_a_module_is_read_in_one_sitting() -> None:
    lengths = {
        name(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules("services", "shared", "deploy", "tests")
    }
    most = {path: TEST_LINES[0] if path.startswith("tests/") else MODULE_LINES for path in lengths}
    too_long = {path for path, lines in lengths.items() if lines > most[path]}
    assert too_long == set(LONG_MODULES)


def test_a_function_fits_a_screen() -> None:
    found = {
        name(path): list(long_functions(path.read_text(encoding="utf-8"), most))
        for folders, most in ((("services", "shared", "deploy"), FUNCTION_LINES), (("tests",), TEST_LINES[1]))
        for path in modules(*folders)
    }
    assert {path: functions for path, functions in found.items() if functions} == LONG_FUNCTIONS


def test_a_module_is_named_by_what_it_holds() -> None:
    named_so = [
        name(path)
        for path in modules("services", "shared", "deploy", "tests")
        if path.stem.removeprefix("test_") in FORBIDDEN_NAMES
    ]
    packages = {name(path.parent) for path in modules("services", "shared", "deploy") if path.parent.name in FORBIDDEN_NAMES}
    assert (named_so, packages) == ([], set())


def test_no_figure_of_the_law_stands_in_code() -> None:
    sources = {name(path): path.read_text(encoding="utf-8") for path in modules(*LAW)}
    found = {(path, value): line for path, source in sources.items() if is_pure(source) for line, value in policy_figures(source)}
    assert {place: line for place, line in found.items() if place not in NO_LAW} == {}
    assert [place for place in NO_LAW if place not in found] == [], "an exception nobody needs"


def test_arrows_between_packages_point_one_way() -> None:
    command = (str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache")
    said = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_every_point_a_fault_test_may_name_is_reached_by_the_loop() -> None:
    assert sorted(points_reached((ROOT / "shared/runtime/loop.py").read_text(encoding="utf-8"))) == sorted(POINTS)


def test_the_topics_declared_are_those_the_code_names() -> None:
    """In ``shared.events`` where two services meet; what a service says to itself, it reads itself."""
    declared = yaml.safe_load((ROOT / "deploy/topics.yaml").read_text(encoding="utf-8"))["topics"]
    named = {value for word, value in vars(events).items() if word.isupper() and isinstance(value, str)}
    read = {topic for place in PATH for topic in place.topics}
    assert set(declared) == named | read | {f"register.{kind}" for kind in events.REGISTER_TYPES}


@pytest.mark.parametrize("page", ["README.md"])
def test_a_page_names_only_verbs_that_exist(page: str) -> None:
    said = verbs_said((ROOT / page).read_text(encoding="utf-8"))
    assert said
    assert unknown_verbs(said) == []


def test_clients_of_kafka_get_their_credentials_in_one_place() -> None:
    spelled = {
        name(path)
        for path in modules("services", "shared")
        if '"bootstrap_servers"' in path.read_text() or "bootstrap_servers=" in path.read_text()
    }
    assert spelled == {"shared/runtime/access.py"}


def test_migrations_follow_each_other_one_by_one() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "deploy/migrations/versions").glob("0*.py"))]
    steps = [re.findall(r'^(?:down_)?revision = "?(\w+)', text, re.MULTILINE) for text in texts]
    assert steps == [[f"{n:04}", f"{n - 1:04}" if n > 1 else "None"] for n in range(1, len(steps) + 1)]


def test_alerts_name_only_metrics_that_a_service_shows() -> None:
    rules = (ROOT / "deploy/monitoring/alerts.yml").read_text(encoding="utf-8")
    expressions = [rule["expr"] for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]
    shown = {sample for family in REGISTRY.collect() for sample in (family.name, f"{family.name}_total")}
    named = {word for expression in expressions for word in re.findall(r"gongji_\w+", expression)}
    assert named - shown == set()


@pytest.mark.parametrize("page", ["deploy/monitoring/alerts.yml", *sorted(name(path) for path in ROOT.glob("deploy/**/*.md"))])
def test_what_operators_are_told_to_run_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    told = verbs_said(re.sub(r"(action: .*)", r"`\1`", text) if page.endswith(".yml") else text)
    assert unknown_verbs(told) == []


def test_nothing_committed_names_a_place_of_one_machine() -> None:
    found = []
    for path in texts():
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
        found += [f"{name(path)}:{number}" for number, line in enumerate(lines, 1) if PLACES_OF_ONE_MACHINE.search(line)]
    assert found == []


# -- and each of these can fail -------------------------------------------------------------------------------------


def test_a_long_function_is_seen() -> None:
    body = "\n".join(["def short():", "    pass", "async def long():", *["    pass"] * FUNCTION_LINES])
    assert list(long_functions(body, FUNCTION_LINES)) == ["long"]
    assert list(long_functions(body, FUNCTION_LINES + 1)) == []


@pytest.mark.parametrize("code", ["x = 0.55", "x = 1500", "x = date(2023, 1, 1)", "x = '0.55'", "x = '2022-12-29'", "x = '60%'"])
def test_a_figure_in_code_is_seen(code: str) -> None:
    assert policy_figures(code)


@pytest.mark.parametrize("code", ["x = 100", "x = 12", "x = True", "x = 1_000_000", "x = '0.00'", "x = 'article 10'", "x[:64]"])
def test_what_is_no_figure_passes(code: str) -> None:
    assert policy_figures(code) == []


def test_a_verb_that_does_not_exist_is_seen() -> None:
    page = "Run `gongji serve all` or `gongji servers up\\|vanish`:\n```sh\ngongji feed generate | gongji conjure -\n```\n"
    assert unknown_verbs(verbs_said(page)) == ["conjure", "servers vanish"]


@pytest.mark.parametrize("place", ["wo" + "rk", "ro" + "ot", "ho" + "me/somebody", "opt/wh" + "eels"])
def test_a_place_of_one_machine_is_seen(place: str) -> None:
    assert PLACES_OF_ONE_MACHINE.search(f"cd /{place}/gongji")
    assert not PLACES_OF_ONE_MACHINE.search(f"https://example.org/{place}/x")


def test_points_are_read_from_code() -> None:
    assert points_reached("reach('a')\nother('b')\nif x:\n    reach('c')") == ["a", "c"]


def test_powers_of_ten() -> None:
    numbers: dict[int, Any] = {1: True, 10: True, 10_000: True, 15: False, 20: False, 101: False}
    assert {number: is_power_of_ten(number) for number in numbers} == numbers
