"""Ways to break Redis, or what it shows, while claims flow."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import redis
from deployment import Deployment, until


@contextmanager
def redis_away(running: Deployment, *, how: Callable[..., AbstractContextManager[None]]) -> Iterator[None]:
    """Redis answers nobody; claims are settled all the same, and what they used is in Redis soon after it is back."""
    with how(running, name="redis"):
        before = _decided(running)  # now: what was shown just before a kill is lost with it, and nobody has to show it again
        until(lambda: len(_decided(running) - before) >= 20, "claims to be settled without Redis")
        meanwhile = sorted(_decided(running) - before)
        yield
    until(lambda: _shown(running) >= _used(running, meanwhile), "Redis to catch up", 120)


def _decided(running: Deployment) -> set[str]:
    return {member for (member,) in running.rows("select distinct member_id from adjudication.decision")}


def _used(running: Deployment, members: list[str]) -> set[str]:
    """The members who have used something."""
    query = "select distinct member_id from adjudication.counter where version > 0 and member_id = any(%s)"
    return {member for (member,) in running.rows(query, members)}


def _shown(running: Deployment) -> set[str]:
    return {key.decode().rpartition(":")[2] for key in cache(running).scan_iter(match=f"{prefix(running)}*", count=1000)}


@contextmanager
def flushed(running: Deployment) -> Iterator[None]:
    """FLUSHALL."""
    cache(running).flushall()
    yield


@contextmanager
def restored_from_an_old_dump(running: Deployment) -> Iterator[None]:
    """Redis is killed, and comes back with what it had before the last claims."""
    cache(running).save()
    before = _decided(running)
    until(lambda: len(_decided(running) - before) >= 20, "claims that the dump does not know")
    running.servers.kill("redis")
    running.servers.up()
    assert cache(running).dbsize() > 0, "the dump was not loaded"
    yield
    (running.servers.home / "servers" / "redis" / "dump.rdb").unlink()


_AHEAD = b"1000000:77"  # a version that no decision will ever reach, and fen


@contextmanager
def wrong_by_hand(running: Deployment) -> Iterator[None]:
    """A value of a version far ahead, and one that is no hash at all; both are swept away."""
    until(lambda: len(_shown(running)) > 2, "counters in Redis")
    key, other, *_ = cache(running).scan_iter(match=f"{prefix(running)}*", count=1000)
    cache(running).hset(key, cache(running).hkeys(key)[0], _AHEAD)
    cache(running).delete(other)
    cache(running).set(other, "no hash at all")
    yield
    until(lambda: _swept(running, key, other), "both to be swept away", 120)


def _swept(running: Deployment, ahead: bytes, other: bytes) -> bool:
    """Gone, or written anew meanwhile."""
    client = cache(running)
    ahead_still = client.type(ahead) == b"hash" and _AHEAD in client.hvals(ahead)
    return not ahead_still and client.type(other) in (b"none", b"hash")


def cache(running: Deployment) -> "redis.Redis":
    return redis.Redis.from_url(running.servers.addresses.redis)


def prefix(running: Deployment) -> str:
    """What the keys of counters begin with."""
    [(incarnation,)] = running.rows("select incarnation::text from runtime.deployment")
    return f"gongji:{incarnation}:accumulators:"
