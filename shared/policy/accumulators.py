"""Whether the accumulators of a pack fit together: what a step runs over, and the periods it runs in."""

from collections.abc import Iterator
from typing import get_args

from shared.policy.benefits import (
    AbovePooledCap,
    AfterStep,
    AnnualCap,
    AnnualDeductible,
    Benefit,
    Name,
    Period,
    PooledCap,
    PoolStep,
    SpillOver,
    SupplementStep,
    Tally,
    VisitCap,
    VisitDeductible,
)
from shared.policy.pack import Pack, PackVersion

Found = tuple[str, str, str]  # path, fault, remedy

_ONE_OF_EACH = (VisitDeductible, VisitCap, PooledCap, SpillOver)


def accumulator_faults(pack: Pack) -> Iterator[Found]:
    """What would be counted twice, or under a name that counts something else."""
    for index, version in enumerate(pack.versions):
        path = f"versions[{index}].benefits"
        yield from _period_faults(version.benefits.period, f"{path}.period")
        yield from _counter_faults(version, path)


def _period_faults(period: Period, path: str) -> Iterator[Found]:
    """Special periods follow each other, and the months they are called by tell them apart."""
    names: set[str] = set()
    for index, span in enumerate(period.special):
        place = f"{path}.special[{index}]"
        name = f"{span.from_:%Y-%m}/{span.to:%Y-%m}"
        if span.to < span.from_:
            yield f"{place}.to", "to is before from", "correct the dates"
        elif index and span.from_ <= period.special[index - 1].to:
            yield f"{place}.from", "overlaps the period before", "begin after it has ended, and write them in order"
        elif name in names:
            yield place, f"another period is in the same months, {name}", "make them one, or end them with a month"
        names.add(name)


def _counter_faults(version: PackVersion, path: str) -> Iterator[Found]:
    """In a benefit nothing counts twice; in a version an accumulator counts one kind of thing."""
    kinds: dict[str, str] = {}
    for name in get_args(Name):
        benefit: Benefit | None = getattr(version.benefits, name)
        if benefit is None:
            continue
        seen: set[object] = set()
        for place, step in _steps(benefit, f"{path}.{name}"):
            if type(step) in seen and isinstance(step, _ONE_OF_EACH):
                yield place, f"a second {step.step} in one benefit", "keep one of them"
                continue
            counter, kind = _counted(name, step)
            if counter in seen and kind in ("a deductible", "what the pooled fund pays"):
                yield place, f"{counter} is counted by another step of the benefit already", "give one a counter of its own"
            elif counter is not None and kinds.setdefault(counter, kind) != kind:
                yield place, f"{counter} counts {kinds[counter]}, not {kind}", "give it a counter of its own"
            seen |= {type(step), counter}


def _steps(benefit: Benefit, path: str) -> Iterator[tuple[str, PoolStep | AfterStep]]:
    for index, step in enumerate(benefit.pool):
        yield f"{path}.pool[{index}]", step
    for index, other in enumerate(benefit.after):
        yield f"{path}.after[{index}]", other


def _counted(name: str, step: PoolStep | AfterStep) -> tuple[str | None, str]:
    """The accumulator of a step, and what it counts there."""
    match step:
        case AnnualDeductible():
            return step.counter.replace("{benefit}", name), "a deductible"
        case AnnualCap() | PooledCap():
            return step.counter.replace("{benefit}", name), "what the pooled fund pays"
        case SupplementStep() | AbovePooledCap():
            return (step.counter or f"{step.fund}.fund").replace("{benefit}", name), f"what {step.fund} pays"
        case Tally():
            return step.counter.replace("{benefit}", name), "what the person pays"
    return None, ""
