"""The ``account`` section of a version: what a personal account (个人账户) is credited with, may be used for, and leaves.

``uses`` is the city's matrix (policy.md, section 4): purpose, person, place, article. The first row that names a
purpose speaks for it; what no row names is refused with the article of ``otherwise``. Whose family a person is,
and that the link is registered, is the ``coverage`` section's to say. A purpose is one of:

=================  ==========================================================================
own_share          the person's own share of a treatment (个人负担的医疗费用)
drugs              at a pharmacy (药品)
devices            medical devices at a pharmacy (医疗器械)
consumables        medical consumables at a pharmacy (医用耗材)
premium            a premium of basic or supplementary insurance (参保缴费)
back_payment       missing years at one's own retirement (补缴年限)
tcm_preventive     preventive treatment of Chinese medicine (中医治未病)
public_health      public health (公共卫生)
sport              sport (体育)
fitness            fitness (健身)
wellness           wellness and check-ups (养生保健)
=================  ==========================================================================

``crediting`` is the months and formulas (``shared.policy.crediting``), ``leaving`` what each article lets happen to the
balance of who leaves (``shared.policy.leaving``); a case that no row names is refused with the article of
``leaving_otherwise``.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.policy.crediting import Crediting
from shared.policy.figure import Cited, Strict
from shared.policy.leaving import Leaving

Purpose = Literal[
    "own_share",
    "drugs",
    "devices",
    "consumables",
    "premium",
    "back_payment",
    "tcm_preventive",
    "public_health",
    "sport",
    "fitness",
    "wellness",
]


class Use(Cited):
    """What an article says of some purposes: for whom, where, and whether.

    ``at``: any designated institution, a designated pharmacy, a designated hospital (any medical institution), or anywhere
    (who collects a premium need not be designated). ``exploratory`` (探索): named by the article, not switched on.
    """

    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1)]
    word: Literal["allowed", "exploratory", "never"] = "allowed"
    who: tuple[Literal["self", "family"], ...] = ("self", "family")
    at: Literal["designated", "pharmacy", "hospital", "anywhere"] = "anywhere"


class Account(Strict):
    """How the personal account is used, credited, and left."""

    uses: tuple[Use, ...] = ()
    otherwise: Cited | None = None
    crediting: Crediting | None = None
    leaving: tuple[Leaving, ...] = ()
    leaving_otherwise: Cited | None = None

    @model_validator(mode="after")
    def _one_rule_a_case(self) -> Self:
        purposes = [purpose for use in self.uses for purpose in use.purposes]
        if len(set(purposes)) < len(purposes):
            raise ValueError("two uses for one purpose")
        if len({row.case for row in self.leaving}) < len(self.leaving):
            raise ValueError("two rows for one case of leaving")
        return self

    def rule(self, purpose: str) -> Use | None:
        """What the city says of a purpose; None when it does not name it."""
        return next((use for use in self.uses if purpose in use.purposes), None)

    def left_by(self, case: str) -> Leaving | None:
        """What the city says of a case of leaving; None when it does not name it."""
        return next((row for row in self.leaving if row.case == case), None)
