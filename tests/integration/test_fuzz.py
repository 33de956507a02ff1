"""Bad input at volume: what comes in is answered or set aside, each once, and takes nothing with it.

``make fuzz RECORDS=100000 SEED=7`` for a long run; a record that breaks something goes to ``tests/corpus``, and is printed.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import PARTITIONS, Deployment, Worker, deployment
from fuzzing import identity, records, register
from servers import LocalServers

RECORDS = int(os.environ.get("GONGJI_FUZZ_RECORDS") or 1_500)
SEED = int(os.environ.get("GONGJI_FUZZ_SEED") or 20_261_124)
PORTIONS = 8
GROWTH_KIB = 24 * 1024  # over the second half of the run, whatever its length: by then buffers and caches have met their bounds


@pytest.fixture(scope="module")
def running(private_servers: LocalServers) -> Iterator[Deployment]:
    with deployment(private_servers) as made:
        made.start()
        made.register(register())
        yield made


def resident(worker: Worker) -> int:
    """KiB."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_every_record_gets_an_answer_or_comes_back_as_a_dead_letter(running: Deployment) -> None:
    workers = list(running.workers)
    sent = list(records(RECORDS, SEED))
    sizes = []
    for portion in range(PORTIONS):
        for partition in range(PARTITIONS):
            running.send(sent[portion::PORTIONS][partition::PARTITIONS], partition=partition)
        running.drain(seconds=120 + RECORDS / 50)
        sizes.append([resident(worker) for worker in workers])

    assert all(worker.alive for worker in workers), [worker.log.read_text()[-2000:] for worker in workers if not worker.alive]
    # Nobody's code failed on a record: what was set aside could not be read.
    failed = running.rows("select topic, reason, detail, value from runtime.quarantine where reason <> 'unreadable'")
    assert not failed, failed[:3]

    expected = [identity(value) for value in sent]
    assert Counter(running.dead_letters()) == Counter(value for value, known in zip(sent, expected, strict=True) if known is None)

    outcomes = running.outcomes().values()
    answered = Counter((one["institution_id"], one["use_no"] if "use_no" in one else one["claim_no"]) for one in outcomes)
    times = Counter(known for known in expected if known is not None)
    assert answered.keys() == times.keys(), f"the first: {sorted(answered.keys() ^ times.keys())[:3]}"
    wrong = {known: (count, times[known]) for known, count in answered.items() if count > times[known]}
    assert not wrong, f"more outcomes than submissions: {wrong}"

    running.audit()
    first_half = [max(one) for one in zip(*sizes[: PORTIONS // 2], strict=True)]
    growth = [last - first for first, last in zip(first_half, sizes[-1], strict=True)]
    assert max(growth) < GROWTH_KIB, f"KiB resident of {[worker.name for worker in workers]} after each portion: {sizes}"
    kinds = Counter(one["outcome"] for one in outcomes)
    print(f"{len(sent)} records of seed {SEED}: {dict(kinds)}, {expected.count(None)} dead letters; KiB resident {sizes}")  # noqa: T201
