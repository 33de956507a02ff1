"""What the loop asks of the consumer while partitions come and go."""

from shared.runtime.fetch import Consumer
from shared.runtime.kafka import ConsumerLog


async def test_what_a_rebalance_took_away_is_not_waited_for_here() -> None:
    """The client asserts that a partition is assigned; a sweep on its way across a rebalance must not end by that."""
    consumer = Consumer(bootstrap_servers="127.0.0.1:9")
    try:
        assert await ConsumerLog(consumer).waiting({("claims.submitted", 0): 5}, resting=True) == 0
    finally:
        await consumer.stop()
