"""``gongji lease list | adopt``: who works on which partition and how far; and taking up a new Kafka cluster after a restore."""

import asyncio
import json
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console

from services.ops.audit.announced import bounds, ends_of_records, log
from shared.calendar import stamp
from shared.errors import Stop
from shared.runtime.command import log_command, stated
from shared.runtime.database import reach, reader
from shared.runtime.lease import Place
from shared.runtime.settings import Settings

app = typer.Typer(name="lease", help="Who works on which partition, and up to where.", no_args_is_help=True)

ADOPT = "lease adopt"  # the audit looks for it: from there on the log counts anew

_LEASES = """
    select service, topic, partition, owner, epoch, next_offset, out_seq, relayed_seq, records, quarantined, updated_at
    from runtime.lease order by service, topic, partition
"""
# The epoch goes up, so that whoever still works on the old cluster is fenced; numbers go on, so that none is given twice.
# What Redis was shown it was shown of these books, whichever log they came from: a whole history need not go there again. If
# Redis was lost or is older than its mark, a miss is read from Postgres, and the services' sweep writes anew what is behind.
_TAKE_UP = """
    update runtime.lease set cluster_id = $1, epoch = epoch + 1, owner = '', backend_pid = null, next_offset = 0,
        last_digest = null, relayed_seq = 0, updated_at = now()
"""
# A place in the old log is no place in the new one: below zero they stay apart, one log from the other.
_SET_ASIDE = """
    update runtime.quarantine set record_offset = record_offset - 1000000000000000 * (
        1 + (select count(*) from runtime.command_log where command = 'lease adopt')) where record_offset >= 0
"""

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command("list")
def list_leases(*, as_json: Json = False) -> None:
    """List the leases with what is left to read and to announce."""
    lines = asyncio.run(_list())
    if as_json:
        for line in lines:
            typer.echo(json.dumps(line))
        return
    names = ("epoch", "next_offset", "lag", "unannounced", "records", "quarantined")
    typer.echo(f"{'service':14}{'partition':28}" + "".join(f"{name:>12}" for name in names) + "  since, owner")
    for line in lines:
        place = f"{line['topic']}/{line['partition']}"
        numbers = "".join(f"{line[name]:>12}" for name in names)
        typer.echo(f"{line['service']:14}{place:28}{numbers}  {line['updated_at']}, {line['owner'] or 'nobody'}")


@app.command()
def adopt(why: Annotated[str, typer.Option("--reason", help="Why; kept with who and when.")]) -> None:
    """Take up the present Kafka cluster for these books, after a restore: everything is announced again."""
    old, new = asyncio.run(_adopt(stated(why)))
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"these books belonged to Kafka cluster {old}, and now to {new}; start the services: they announce everything again"
    )


async def _list() -> list[dict[str, Any]]:
    settings = Settings.load()
    async with log(settings.kafka) as consumer, reader(settings.postgres) as connection:
        rows = await connection.fetch(_LEASES)
        starts, ends = await bounds(consumer, {(row["topic"], row["partition"]) for row in rows})
        reached: dict[Place, int] = {}
        for row in rows:
            place = (row["topic"], row["partition"])
            reached[place] = min(reached.get(place, row["next_offset"]), row["next_offset"])
        ends = await ends_of_records(consumer, starts, ends, reached)
    lines = []
    for row in rows:
        line = dict(row) | {"updated_at": stamp(row["updated_at"])}
        line["unannounced"] = line.pop("out_seq") - line.pop("relayed_seq")
        line["lag"] = ends.get((row["topic"], row["partition"]), 0) - row["next_offset"]
        lines.append(line)
    return lines


async def _adopt(why: str) -> tuple[str, str]:
    """Returns the ids of the old and the new cluster. Raises Stop where there is nothing to adopt, or the topics are in use."""
    from shared.runtime import topics  # noqa: PLC0415 - the admin client takes its time to import

    settings = Settings.load()
    await reach(settings.postgres)
    cluster_id = await topics.prepare(settings.kafka, settings.partitions)
    connection = await asyncpg.connect(settings.postgres)
    try:
        async with connection.transaction():
            await connection.execute("set local role gongji_service; lock table runtime.lease in exclusive mode")
            old = await connection.fetchval("select cluster_id from runtime.deployment for update")
            if old is None or old == cluster_id:
                raise Stop(f"these books belong to Kafka cluster {cluster_id} already: there is nothing to adopt")
            rows = await connection.fetch("select *, service || ' ' || topic || '/' || partition as name from runtime.lease")
            before = {"cluster_id": old, "leases": {row["name"]: row["next_offset"] for row in rows}}
            await connection.execute(_SET_ASIDE)
            await connection.execute(_TAKE_UP, cluster_id)
            await connection.execute("update runtime.deployment set cluster_id = $1", cluster_id)
            after = {"cluster_id": cluster_id, "records": {row["name"]: row["records"] for row in rows}}
            await log_command(connection, ADOPT, why, before, after)
    finally:
        await connection.close()
    return old, cluster_id
