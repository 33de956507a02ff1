"""The outcome as the world sees it (contract.md, section 2): one object for every claim, reversal and account use."""

import msgspec

from shared.events import PolicyRef
from shared.money import yuan
from shared.reasons import Reason


class StaleQuote(msgspec.Struct, frozen=True, kw_only=True):
    """Of a rejection as ``quote_stale``: what each fund was quoted to pay and would pay now (yuan), and what changed."""

    quoted: dict[str, str]
    current: dict[str, str]
    changed: tuple[str, ...]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Amounts are decimal strings in yuan, always present; a reversal's are negative; a rejection's are "0.00"."""

    type: str = "settlement"
    kind: str  # claim, reversal, account_use
    claim_no: str | msgspec.UnsetType = msgspec.UNSET
    use_no: str | msgspec.UnsetType = msgspec.UNSET
    institution_id: str
    member_id: str | None
    revision: int = 0
    outcome: str  # settled, rejected, reversed
    reasons: tuple[Reason, ...] = ()
    total: str = "0.00"
    own_paid: str = "0.00"
    over_limit: str = "0.00"
    pre_self_pay: str = "0.00"
    in_scope: str = "0.00"
    deductible: str = "0.00"
    pooled: str = "0.00"
    large_expense: str = "0.00"
    civil_servant: str = "0.00"
    veterans: str = "0.00"
    fund_total: str = "0.00"
    account: str = "0.00"
    family_account: str = "0.00"
    cash: str = "0.00"
    account_balance: str | None = None
    policy: PolicyRef | None = None
    period: str | None = None
    before: dict[str, str | int] = {}
    after: dict[str, str | int] = {}
    articles: tuple[str, ...] = ()
    trace: tuple[dict[str, object], ...] | msgspec.UnsetType = msgspec.UNSET
    stale: StaleQuote | msgspec.UnsetType = msgspec.UNSET
    insured_region: str | None = None
    care_region: str | None = None
    payee: str | msgspec.UnsetType = msgspec.UNSET  # member: funds and accounts owe the person, not the institution
    event_id: str
    accepted_at: str | msgspec.UnsetType | None = msgspec.UNSET  # on Kafka, not in a replay
    settled_at: str | msgspec.UnsetType | None = msgspec.UNSET


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Outcome)


def encode(outcome: Outcome) -> bytes:
    """An outcome as it travels and as it is stored: the same bytes for ever."""
    return _encoder.encode(outcome)


def decode(value: bytes) -> Outcome:
    """Reads an outcome of our own making. Raises msgspec.DecodeError or ValidationError."""
    return _decoder.decode(value)


def accumulators(values: dict[str, int]) -> dict[str, str | int]:
    """Accumulators as the outcome shows them: yuan, except counts (names ending in ``_count``)."""
    return {name: value if name.endswith("_count") else yuan(value) for name, value in sorted(values.items())}
