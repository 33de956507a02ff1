"""Reads YAML as policy data: bounded in size, depth and aliases, without duplicate keys, numbers exact (Decimal)."""

import re
from datetime import date
from decimal import Decimal
from typing import Any, Final

import yaml

from shared.policy.faults import Fault, PackError, path_of

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 24
MAX_ALIASES: Final = 64
MAX_NODES: Final = 50_000  # aliases counted as often as they are used: an exploding anchor stops here

_PLAIN: Final = {
    "tag:yaml.org,2002:null": (re.compile(r"^(?:~|null|)$"), ["~", "n", ""]),
    "tag:yaml.org,2002:bool": (re.compile(r"^(?:true|false)$"), ["t", "f"]),
    "tag:yaml.org,2002:float": (re.compile(r"^-?[0-9]+(?:\.[0-9]+)?$"), list("-0123456789")),
    "tag:yaml.org,2002:timestamp": (re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), list("0123456789")),
}


# libyaml's parser where PyYAML was built with it: five packs in a fifth of the time, at every start of a process.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]
    """YAML of data only: null, true, false, decimal numbers, dates, text. No yes/no, octals, merges or own tags."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML reads it from the class)


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    return Decimal(str(loader.construct_scalar(node)))


def _day(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> date:
    text = str(loader.construct_scalar(node))
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, f"{text}: {error}", node.start_mark) from error


for _tag, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _day)


def read_yaml(content: bytes, file: str) -> Any:
    """Reads one document: mappings, lists, text, Decimal, date, bool, None. Raises PackError naming file and place."""
    if len(content) > MAX_BYTES:
        raise PackError([Fault(file, "", f"larger than {MAX_BYTES} bytes", "split the file")])
    try:
        text = content.decode("utf-8")
        _check_shape(text, file)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise PackError([Fault(file, "", "the file is empty", "write a mapping")])
            _check_nodes(node, file)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise PackError([Fault(file, "", f"not UTF-8: {error.reason}", "save it as UTF-8")]) from error
    except (yaml.YAMLError, ValueError) as error:
        fault = " ".join(str(error).split())
        raise PackError([Fault(file, "", f"not readable as YAML: {fault}", "correct the line named")]) from error


def _check_shape(text: str, file: str) -> None:
    """Bounds depth and aliases on the event stream, before anything recursive looks at the text."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > MAX_DEPTH:
            raise PackError([Fault(file, "", f"nested deeper than {MAX_DEPTH}", "flatten it")])
        if aliases > MAX_ALIASES:
            raise PackError([Fault(file, "", f"more than {MAX_ALIASES} aliases", "write the values out")])


def _check_nodes(root: yaml.Node, file: str) -> None:
    """Refuses duplicate and odd keys, and anchors that explode when they are followed."""
    faults: list[Fault] = []
    pending: list[tuple[yaml.Node, tuple[str | int, ...]]] = [(root, ())]
    seen = 0
    while pending:
        node, place = pending.pop()
        seen += 1
        if seen > MAX_NODES or len(place) > MAX_DEPTH:
            raise PackError([Fault(file, path_of(place[:4]), "anchors explode", "write the values out")])
        if isinstance(node, yaml.SequenceNode):
            pending.extend((child, (*place, index)) for index, child in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else "?"
                if not isinstance(key, yaml.ScalarNode) or name == "<<":
                    faults.append(Fault(file, path_of(place), "a key that is not a plain word", "use plain keys"))
                elif name in keys:
                    faults.append(Fault(file, path_of((*place, name)), "duplicate key", "keep one of them"))
                keys.add(name)
                pending.append((value, (*place, name)))
    if faults:
        raise PackError(faults)
