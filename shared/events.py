"""The events between our services: one envelope that grows on its way.

intake makes it (accepted), eligibility adds the verdict (eligible), adjudication adds the decision (adjudicated),
account turns it into the outcome (``shared.outcome``). JSON on the wire, so that operators can read the topics.

Kinds: ``claim``, ``reversal``, ``account_use``; and ``question``: a repeat, on its way to account, which answers it with
the stored outcome of the kind it ``asks`` for. An operator's ``readjudication`` of a member's year joins the member's
path at eligible, and what adjudication makes of it are further revisions of claims.
"""

from datetime import date
from typing import Final

import msgspec

from shared.claim import AccountUse, Amounts, Claim, Reversal
from shared.reasons import Reason

SERVICES: Final = ("intake", "eligibility", "adjudication", "account", "crossregion")  # in the order a claim meets them

SUBMITTED: Final = "claims.submitted"
ACCEPTED: Final = "claims.accepted"
ELIGIBLE: Final = "claims.eligible"
ADJUDICATED: Final = "claims.adjudicated"
SETTLED: Final = "claims.settled"
REJECTED: Final = "claims.rejected"
DEAD: Final = "claims.dead"
OBLIGATIONS: Final = "clearing.obligations"
WINDOWS: Final = "clearing.windows"
LEDGER_ROOTS: Final = "ledger.roots"
SUBMITTED_TYPES: Final = ("claim", "reversal", "account_use")
REGISTER_TYPES: Final = (
    "member",
    "institution",
    "family_link",
    "remote_filing",
    "inpatient_stay",
    "catalogue_item",
    "account_credit",
)


class PolicyRef(msgspec.Struct, frozen=True, kw_only=True):
    """The version of a region's rules that decided: its number in the pack and the pack's content hash."""

    region: str
    version: str
    hash: str


class InstitutionFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An institution as the register has it on the day of the visit. ``designated`` is said of that day."""

    institution_id: str
    region: str
    kind: str  # hospital, township, community, village, psychiatric, pharmacy, internet
    level: str  # "1", "2", "3", "none"
    designated: bool
    pooled_outpatient: bool = False
    networked: bool = False


class Qualification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A benefit the member has been granted, open on the day of the visit."""

    benefit: str
    institution_id: str | None = None
    doctor_id: str | None = None


class MemberFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member as the register has him on the day of the visit."""

    region: str
    status: str  # active, retired
    employment: str  # employee, flexible_full, flexible_pooled_only
    sector: str  # enterprise, government
    valid_from: date
    covered_to: date | None = None
    supplements: tuple[str, ...] = ()  # civil_servant, large_expense, veteran_1_6
    qualifications: tuple[Qualification, ...] = ()


class ItemFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A catalogue item as it is on the day of the visit: ratio in parts per million, limit in millionths of a yuan a unit."""

    code: str
    category: str  # 甲, 乙, 丙
    pre_self_pay_ratio: int = 0
    price_limit: int | None = None


class Beyond(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That a benefit's cost above its limit goes on to another, by an article; ``closed``: why it does not for this claim."""

    article: str
    closed: Reason | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Eligibility's word on one claim, with the evidence it rests on.

    ``rejection``: nothing is booked. ``fund_closed``: no fund pays, for these reasons, but the claim settles.
    ``account_open``: the personal account may carry the person's share. ``amounts``: as given, or priced from the lines.
    ``benefit``: the one that applies where the law puts another in place of the claimed one; "" otherwise.
    """

    region: str = ""  # the insured region; "" when unknown
    care_region: str = ""
    policy: PolicyRef | None = None
    benefit: str = ""
    rejection: Reason | None = None
    fund_closed: tuple[Reason, ...] = ()
    account_open: bool = False
    account_reason: Reason | None = None  # why the account stays closed
    family_allowed: bool = False  # the named family payer is registered and authorised on the day
    family_reason: Reason | None = None  # why it is not
    line_reasons: tuple[Reason, ...] = ()  # unknown_item and the like, by line
    items: tuple[ItemFacts, ...] = ()  # by which the lines were priced
    amounts: Amounts | None = None
    member: MemberFacts | None = None
    institution: InstitutionFacts | None = None
    host: InstitutionFacts | None = None  # the physical host of an internet hospital
    prescriber: InstitutionFacts | None = None  # the institution of an outside prescription
    prescriber_host: InstitutionFacts | None = None  # its physical host, where it is an internet hospital
    beyond: Beyond | None = None
    articles: tuple[str, ...] = ()


class Stale(msgspec.Struct, frozen=True, kw_only=True):
    """Why a quote no longer holds: what each fund was quoted to pay and would pay now (fen), and what changed.

    ``changed``: quote (unreadable), content, policy, accumulators, register.
    """

    quoted: dict[str, int]
    current: dict[str, int]
    changed: tuple[str, ...]


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Adjudication's word: what each fund pays (fen), why, and the accumulators it rests on.

    ``before`` / ``after``: accumulator name -> fen (names ending in ``_count`` are counts). Amounts of a reversal are negative.
    """

    outcome: str  # settled, rejected, reversed
    reasons: tuple[Reason, ...] = ()
    total: int = 0
    own_paid: int = 0
    over_limit: int = 0
    pre_self_pay: int = 0
    in_scope: int = 0
    deductible: int = 0
    pooled: int = 0
    large_expense: int = 0
    civil_servant: int = 0
    veterans: int = 0
    policy: PolicyRef | None = None
    period: str = ""
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    articles: tuple[str, ...] = ()
    stale: Stale | None = None  # of a rejection as quote_stale

    @property
    def fund_total(self) -> int:
        """What all funds pay together (fen)."""
        return self.pooled + self.large_expense + self.civil_servant + self.veterans


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """A claim of a year that is worked out again, with the verdict that the register of now gives."""

    institution_id: str
    claim_no: str
    verdict: Verdict


class Rework(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The command to work a member's year out again; adjudication adds what came of it.

    ``used``: the accumulators that moved, as they are now (period, name, fen or count). ``refused``: why nothing was done.
    """

    year: int
    reviewed: tuple[Reviewed, ...]
    used: tuple[tuple[str, str, int], ...] = ()
    refused: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The envelope. ``event_id`` is the id its outcome will carry; ``digest`` is intake's digest of the content."""

    kind: str  # claim, reversal, account_use, question, readjudication
    event_id: str
    institution_id: str
    claim_no: str
    member_id: str
    digest: str
    accepted_at: str
    revision: int = 0
    asks: str = ""  # a question's: the kind it asks for
    number: int = 0  # a question's: the how-manieth; a readjudication's: the number of the command
    claim: Claim | None = None
    reversal: Reversal | None = None
    use: AccountUse | None = None
    verdict: Verdict | None = None
    decision: Decision | None = None
    replaces: Decision | None = None  # of a further revision: the decision that stood before
    revised: int = 0  # of a reversal: the revision of its claim that it takes back
    rework: Rework | None = None

    @property
    def inbox_key(self) -> tuple[str, str, str, int]:
        """(institution, claim number, kind, revision): the first event of a key wins; questions count by number."""
        return (self.institution_id, self.claim_no, self.kind, self.number or self.revision)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """An event as it travels."""
    return _encoder.encode(event)


def decode(value: bytes) -> Event:
    """Reads an event of our own services. Raises msgspec.DecodeError or ValidationError."""
    return _decoder.decode(value)
