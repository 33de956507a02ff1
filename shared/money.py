"""Money is an integer number of fen (分); outside, a decimal string in yuan (元).

Ratios are integers in parts per million, so that every product is exact before the one rounding.
Rounding is a named act in one place: half up to the fen (policy.md, Q1).
"""

import re
from collections.abc import Sequence

PPM = 1_000_000
MAX_FEN = 10**15  # ten trillion yuan: more than any fund holds, far inside a bigint

_CENTS = tuple(f".{cents:02d}" for cents in range(100))  # looked up, for every outcome writes some twenty amounts
_YUAN = re.compile(r"(0|[1-9][0-9]{0,12})(?:\.([0-9]{1,2}))?", re.ASCII)


def fen(yuan: str) -> int:
    """Reads a non-negative decimal string in yuan ("123.45", "100", "0.5") as fen.

    Raises ValueError for anything else: a sign, an exponent, three decimals, full-width digits, leading zeros.
    """
    match = _YUAN.fullmatch(yuan)
    if match is None:
        raise ValueError(f"not an amount in yuan with at most two decimals: {yuan[:40]!r}")
    whole, cents = match.groups()
    return int(whole + cents.ljust(2, "0")) if cents else int(whole) * 100


def signed_fen(text: str) -> int:
    """An amount of an outcome in fen: a reversal's is negative, a revision's difference may be. Raises ValueError."""
    return -fen(text[1:]) if text.startswith("-") else fen(text)


def yuan(amount_fen: int) -> str:
    """Writes fen as yuan with two decimals; a negative amount (a reversal's) has a leading minus."""
    if amount_fen < 0:
        return f"-{yuan(-amount_fen)}"
    return f"{amount_fen // 100}{_CENTS[amount_fen % 100]}"


def half_up(numerator: int, denominator: int) -> int:
    """Numerator ÷ denominator, rounded half up; both non-negative, the denominator positive."""
    return (2 * numerator + denominator) // (2 * denominator)


def share(amount_fen: int, ratio_ppm: int) -> int:
    """The part of an amount that a ratio (parts per million) gives, half up to the fen."""
    return half_up(amount_fen * ratio_ppm, PPM)


def split(amount_fen: int, weights: Sequence[int]) -> list[int]:
    """Splits an amount in proportion to weights, giving back every fen (largest remainder, ties to the first).

    Raises ValueError if the weights are negative or all zero while there is something to split.
    """
    whole = sum(weights)
    if amount_fen == 0:
        return [0] * len(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights must be non-negative and not all zero")
    shares = [amount_fen * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(amount_fen * weights[i] % whole), i))
    for i in by_remainder[: amount_fen - sum(shares)]:
        shares[i] += 1
    return shares
