"""The topics of a deployment: declared once in ``deploy/topics.yaml``, created by the program, checked at start."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from shared.errors import Stop
from shared.runtime import access

DECLARED = Path(__file__).resolve().parents[2] / "deploy" / "topics.yaml"
_DAY_MS = 86_400_000
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: its name, partitions, and settings as the broker takes them."""

    name: str
    partitions: int
    outsiders_write: bool
    config: dict[str, str]


def declared(claim_partitions: int) -> dict[str, Topic]:
    """The topics as declared, with the deployment's number of claim partitions."""
    topics = {}
    for name, given in yaml.safe_load(DECLARED.read_text(encoding="utf-8"))["topics"].items():
        days = given["retention_days"]
        config = {"retention.ms": "-1" if days == "forever" else str(days * _DAY_MS), "cleanup.policy": "delete"}
        if days == "forever":
            config["retention.bytes"] = "-1"
        if mib := given.get("max_message_mib"):
            config["max.message.bytes"] = str(mib * _MIB)
        count = claim_partitions if given["partitions"] == "claims" else given["partitions"]
        topics[name] = Topic(name, count, given.get("outsiders") == "write", config)
    return topics


async def prepare(bootstrap: str, claim_partitions: int) -> str:
    """Creates what is missing and checks the partition counts. Returns the cluster's id.

    Raises ServerMissing if Kafka does not answer, Stop if a topic has another number of partitions.
    """
    admin = AIOKafkaAdminClient(**access.kafka(bootstrap))
    try:
        await admin.start()
    except (KafkaError, OSError) as trouble:
        await admin.close()
        raise await access.kafka_missing(bootstrap, trouble) from trouble
    try:
        topics = declared(claim_partitions)
        cluster = await admin.describe_cluster()
        await _create_missing(admin, topics, copies=min(3, len(cluster["brokers"])))
        await _check(admin, topics)
        return str(cluster["cluster_id"])
    finally:
        await admin.close()


async def _create_missing(admin: AIOKafkaAdminClient, topics: dict[str, Topic], *, copies: int) -> None:
    there = set(await admin.list_topics())
    missing = [
        NewTopic(topic.name, topic.partitions, copies, topic_configs=topic.config)
        for topic in topics.values()
        if topic.name not in there
    ]
    if not missing:
        return
    answer = await admin.create_topics(missing)
    for name, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # another process may have been first
            raise Stop(f"topic {name} cannot be created: {error.__name__}")


async def _check(admin: AIOKafkaAdminClient, topics: dict[str, Topic]) -> None:
    for found in await admin.describe_topics(list(topics)):
        expected = topics[found["topic"]].partitions
        count = len(found["partitions"])
        if count and count != expected:
            raise Stop(
                f"topic {found['topic']} has {count} partitions, this deployment has {expected}: "
                "the number is fixed at creation (GONGJI_PARTITIONS)"
            )
