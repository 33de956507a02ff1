"""The bill: one claim on its way through the steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.claim import Amounts
from shared.events import Beyond
from shared.money import yuan
from shared.reasons import Reason

TraceLine = dict[str, object]
"""One line of a trace: step, article, inputs, formula, result: enough to work the amount out by hand."""


@dataclass(slots=True)
class Bill:
    """One claim on its way through the steps. Amounts in fen."""

    amounts: Amounts
    after: dict[str, int]  # accumulators, as they will be
    ceilings: dict[str, int]  # accumulator -> the ceiling applied
    trace: list[TraceLine] | None = None
    beyond: Beyond | None = None  # None where the grounds do not say: then it goes on
    funds: dict[str, int] = field(default_factory=lambda: {"pooled": 0, "large_expense": 0, "civil_servant": 0, "veterans": 0})
    deductible: int = 0
    counted: bool = False  # as a claim of its visit
    reasons: list[Reason] = field(default_factory=list)
    within: Reason | None = None  # why nothing was left to pay on
    articles: list[str] = field(default_factory=list)  # of benefits the cost spilled over to
    cost: int = 0  # what the benefit at work is asked to pay for
    payable: int = 0  # ... above its deductible
    covered: int = 0  # ... of that, what ``paid`` stands for
    ratio: int = 0
    paid: int = 0  # by the pooled fund, in the benefit at work
    unpaid: int = 0  # of ``cost``, what no fund has paid yet
    above_own_cap: int = 0
    above_pooled_cap: int = 0

    def begin(self, cost: int) -> None:
        """Starts a benefit on a cost."""
        self.cost = self.payable = self.covered = self.unpaid = cost
        self.ratio = self.paid = self.above_own_cap = self.above_pooled_cap = 0

    def note(self, step: str, article: str, inputs: Mapping[str, int], formula: str, result: int) -> None:
        """Adds a line to the trace; called only when there is one."""
        assert self.trace is not None
        self.trace.append(
            {
                "step": step,
                "article": article,
                "inputs": {name: yuan(value) for name, value in inputs.items()},
                "formula": formula,
                "result": yuan(result),
            }
        )
