"""Tasks end though a cancellation got lost."""

import asyncio

from shared.runtime.ending import ended


async def test_a_task_that_lost_a_cancellation_ends_all_the_same() -> None:
    """As ``wait_for`` does it: the future is done, and in the same turn the task is cancelled."""
    found = asyncio.get_running_loop().create_future()
    got: list[str] = []

    async def work() -> None:
        got.append(await asyncio.wait_for(found, 60))
        await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    found.set_result("what it waited for")
    async with asyncio.timeout(30):
        await ended(working)
    assert (working.done(), got) == (True, ["what it waited for"])


async def test_what_a_task_raised_on_its_way_out_is_looked_at() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("the roll-back failed")

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    await ended(working)
    del working
    await asyncio.sleep(0)
    assert complaints == []
