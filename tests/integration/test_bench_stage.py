"""The benchmark's stage, on real servers that are the benchmark's own."""

from collections.abc import Iterator

import pytest

from services.bench.stage import Stage, stage
from shared.errors import UsageError

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage where one was killed before, in an environment that names somebody else's Postgres."""
    home = tmp_path_factory.mktemp("bench") / "real"
    home.mkdir()
    (home / "records").write_bytes(b"of a run that was killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GONGJI_POSTGRES", "postgresql://somebody:else@127.0.0.1:1/theirs")
        patch.setenv("GONGJI_KAFKA_USER", "somebody")
        with stage(home) as made:
            yield made
    assert not home.exists()


def test_a_stage_is_its_own_whatever_the_environment_names(own: Stage) -> None:
    assert own.settings.postgres == own.addresses.postgres
    assert not {"GONGJI_POSTGRES", "GONGJI_KAFKA_USER"} & set(own.environment)
    assert not (own.home / "records").exists()


def test_two_benchmarks_do_not_share_a_stage(own: Stage) -> None:
    with pytest.raises(UsageError, match="another benchmark"), stage(own.home):
        pass
