"""I10: Redis equals Postgres at equal version, and is never ahead.

Redis is read before the snapshot: what it says was committed before it was written there, so the snapshot has it, or better.
"""

from collections.abc import Mapping
from typing import Final

from services.ops.audit.check import Check, Finding
from services.ops.audit.view import View
from shared.errors import ServerMissing
from shared.runtime.cache import Cache

SAMPLE: Final = 20_000  # members
_IDLE: Final = 30  # looks in a row that bring nobody new

_EQUAL: Final = Check(
    "I10",
    "redis_equals_postgres",
    "缓存与账簿同版本一致，绝不超前",
    "each accumulator in Redis is the table's at equal version, and never ahead",
    ("redis", "adjudication.counter"),
)

_AS_STORED = """
    select c.member_id, c.period, c.name, c.used, c.version from unnest($1::text[]) as m (member_id)
    join adjudication.counter c using (member_id)
"""

Hot = Mapping[str, Mapping[tuple[str, str], tuple[int, int]]]


async def sample(cache: Cache) -> Hot:
    """The accumulators Redis has, of all members or of so many. Raises ServerMissing."""
    found: dict[str, Mapping[tuple[str, str], tuple[int, int]]] = {}
    idle = 0
    try:
        while len(found) < SAMPLE and idle < _IDLE:
            new = [member_id for member_id in await cache.members() if member_id not in found]
            idle = 0 if new else idle + 1
            found |= await cache.read(new[: SAMPLE - len(found)])
    except Cache.TROUBLE as trouble:
        raise ServerMissing("redis", f"{trouble}; start it (gongji servers up) or set GONGJI_REDIS") from trouble
    return found


async def hot(view: View) -> list[Finding]:
    """Compares the sample with the snapshot."""
    finding = Finding(_EQUAL, rows=sum(len(counters) for counters in view.hot.values()))
    if len(view.hot) >= SAMPLE:
        finding.notes.append(f"a sample of {len(view.hot)} members")
    rows = await view.connection.fetch(_AS_STORED, list(view.hot))
    stored = {(row["member_id"], row["period"], row["name"]): (row["used"], row["version"]) for row in rows}
    for member_id, counters in view.hot.items():
        for (period, name), (used, version) in counters.items():
            kept_used, kept_version = stored.get((member_id, period, name), (0, 0))
            key = f"{member_id} {period} {name}"
            if version > kept_version:
                finding.breach(key, f"Redis is ahead: version {version}, the table has {kept_version}")
            elif version == kept_version and used != kept_used:
                finding.breach(key, f"Redis has {used} at version {version}, the table {kept_used}")
            elif used < 0 or version < 0:
                finding.breach(key, "Redis holds what is no number")
    return [finding]
