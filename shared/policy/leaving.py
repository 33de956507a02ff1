"""What happens to a personal account when its member leaves: part of the ``account`` section of a version."""

from typing import Annotated, Literal

from pydantic import Field

from shared.policy.figure import Cited, Status

Case = Literal[
    "moved_within_province",  # 省内跨统筹区转移
    "moved_out_of_province",  # 跨省转移
    "settled_elsewhere",  # 跨省异地安置
    "enlisted",  # 应征入伍
    "emigrated",  # 出国、出境定居
    "died",  # 死亡
    "gave_up",  # 自愿终止职工医保关系
]
Disposal = Literal["transferred", "paid_out", "heirs", "stays"]


class Leaving(Cited):
    """A case that an article names, and where the balance goes: the first of ``to``, or on request another of them.

    ``stays``: the account is not closed, and stays usable. ``status``: only members of this status.
    """

    case: Case
    to: Annotated[tuple[Disposal, ...], Field(min_length=1)]
    status: Status | None = None
