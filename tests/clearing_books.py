"""What crossregion makes of the outcomes in account's books: obligations, and windows that are closed."""

from datetime import UTC, datetime

import asyncpg

from services.crossregion.steps import CrossregionStep
from services.crossregion.store import PostgresStore
from shared.events import SETTLED
from shared.runtime.command import log_command
from shared.runtime.step import Filed, Record

_ANNOUNCED = """
    select o.value from account.outcome o left join crossregion.obligation b using (institution_id, claim_no, kind, revision)
    where o.target = $1 and b.kind is null order by o.journal_id
"""


async def closed(connection: asyncpg.Connection) -> int:
    """Files what is owed by all that was announced and not filed yet, and closes the window. Returns its number."""
    step, store = CrossregionStep(PostgresStore()), PostgresStore()
    async with connection.transaction():
        values = [row[0] for row in await connection.fetch(_ANNOUNCED, SETTLED)]
        events = [step.decode(Record(SETTLED, 0, 0, 0, None, value)) for value in values]
        facts = await step.load(connection, events)
        decided = [one for event in events if (one := step.decide(event, facts))]
        filed = await connection.fetchval("select count(*) from crossregion.obligation")
        await step.record(connection, [Filed(d, SETTLED, 0, 0, filed + n, step.announce(d)) for n, d in enumerate(decided)])
        window = await store.close(connection, datetime.now(UTC))
        await log_command(connection, "clearing close", "月结", {}, {"window": window.window_id})
    return window.window_id
