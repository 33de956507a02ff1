"""A working as a table for people, in Chinese and English, with the articles quoted. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.explain import Working
from services.law.texts import Texts
from shared.outcome import Outcome
from shared.policy.pack import Document

STEPS: Final = {
    "line": ("费用明细", "line of the bill"),
    "total": ("总费用", "cost of the claim"),
    "annual_deductible": ("年度起付标准", "deductible of the period"),
    "visit_deductible": ("单次起付标准", "deductible of the visit"),
    "ratio": ("支付比例", "the fund's share"),
    "visit_cap": ("单次限额", "cap of the visit"),
    "annual_cap": ("年度限额", "cap of the period"),
    "pooled_cap": ("统筹基金年度限额", "cap of the pooled fund"),
    "above_cap": ("限额以上费用", "cost above the cap"),
    "supplement": ("补助", "supplement"),
    "above_pooled_cap": ("统筹限额以上", "above the pooled fund's cap"),
    "spill_over": ("超限额部分转入", "what is above the cap goes on"),
    "remainder": ("剩余部分由基金负担", "a fund pays the rest"),
    "tally": ("计入累计", "counted"),
    "fund_total": ("基金支付合计", "the funds together"),
    "person": ("个人负担", "the person's share"),
    "account": ("个人账户支付", "personal account"),
    "family_account": ("家庭共济支付", "family account"),
    "cash": ("现金支付", "cash"),
    "reversal": ("撤销", "taken back"),
    "revision": ("重新核算差额", "difference of the revision"),
    "give_back": ("退回累计", "given back"),
    "reason": ("原因", "reason"),
}
_OUTCOMES: Final = {"settled": "已结算", "rejected": "已拒绝", "reversed": "已撤销"}
_KINDS: Final = {"claim": "结算", "reversal": "撤销", "account_use": "账户使用"}


def shown(outcome: Outcome, working: Working, texts: Texts, documents: Mapping[str, Document]) -> RenderableType:
    """Who, what, how much, step by step, and the words of the articles."""
    table = Table()
    table.add_column("步骤 step")
    table.add_column("条款 article")
    table.add_column("算式 formula", overflow="fold")
    table.add_column("结果 result", justify="right")
    for line in working.trace:
        name, _, of = str(line["step"]).partition(":")
        zh, en = STEPS.get(name, (name, name))
        step = f"{zh} {en}" + (f" ({of})" if of else "")
        table.add_row(step, str(line["article"] or ""), str(line["formula"]), str(line["result"]))
    parts: list[RenderableType] = [Text(_title(outcome), style="bold"), table]
    parts += [Text(f"{why.code}: {why.zh} / {why.en}") for why in outcome.reasons]
    parts += [Text(quote) for quote in _quotes(outcome, working, texts, documents)]
    parts.append(_verdict(working))
    return Group(*parts)


def _title(outcome: Outcome) -> str:
    number = outcome.claim_no or outcome.use_no
    policy = outcome.policy
    law = "" if policy is None else f", {policy.region} {policy.version} ({policy.hash[:12]})"
    word = f"{_KINDS[outcome.kind]} {outcome.kind}: {_OUTCOMES[outcome.outcome]} {outcome.outcome}"
    return f"{outcome.institution_id} {number}, {word}{law}"


def _quotes(outcome: Outcome, working: Working, texts: Texts, documents: Mapping[str, Document]) -> Iterator[str]:
    """Each article cited, once, in its own words where they are here; a reversal's are those of its claim."""
    cited = [line["article"] for line in working.trace] + [why.article for why in outcome.reasons]
    if outcome.kind != "reversal":
        cited += outcome.articles
    for article in dict.fromkeys(str(one) for one in cited if one):
        document, _, number = article.partition(":")
        known, text = documents.get(document), texts[article]
        name = article if known is None else f"{article} 《{known.title}》（{known.document}）第 {number} 条"
        yield f"{name}：{text.text}" if text is not None else name


def _verdict(working: Working) -> Text:
    if working.differences:
        said = "\n".join(f"  {difference}" for difference in working.differences)
        return Text(f"重算结果与留存结果不符 / NOT REPRODUCED, worked out anew it differs:\n{said}", style="bold red")
    if working.unproven is not None:
        return Text(f"无法重算 / cannot be worked out anew: {working.unproven}", style="yellow")
    return Text("已按留存依据重算，分文不差 / worked out anew from the stored grounds: the same to the fen", style="green")
