"""I4 on the tables: one effect a key, and every repeat answered with the first outcome's bytes."""
# ruff: noqa: S608 - SQL put together from this package's own names

from services.ops.audit.check import Check, Query, family, key_of

_O = key_of("o")


def _doubled(table: str, *columns: str) -> str:
    named, grouped = " || '/' || ".join(columns), ", ".join(columns)
    counted = f"'{table} has ' || count(*) || ' rows of it' as what"
    return f"select {named} as key, {counted} from {table} group by {grouped} having count(*) > 1"


_CLAIM = ("institution_id", "claim_no", "kind", "revision")

_ONE_ROW = Query(
    Check(
        "I4",
        "one_row_a_key",
        "同一结算号只有一次有效结算",
        "one submission, one decision, one outcome, one obligation under each key",
        ("intake.submission", "adjudication.decision", "account.outcome", "crossregion.obligation"),
    ),
    " union all ".join(
        (
            _doubled("intake.submission", "institution_id", "claim_no"),
            _doubled("adjudication.decision", *_CLAIM),
            _doubled("account.outcome", *_CLAIM),
            _doubled("crossregion.obligation", *_CLAIM),
        )
    ),
)

_ONE_JOURNAL = Query(
    Check(
        "I4",
        "one_journal_an_outcome",
        "每笔结算只记一张凭证，只冲正一次",
        "one journal under each key; none serves two outcomes; none is corrected twice",
        ("account.journal", "account.outcome"),
    ),
    " union all ".join(
        (
            _doubled("account.journal", "issuer", "number", "kind", "revision"),
            """
            select 'journal ' || journal_id, 'serves ' || count(*) || ' outcomes' from account.outcome
            where journal_id is not null group by journal_id having count(*) > 1
            """,
            """
            select 'journal ' || corrects, 'is corrected ' || count(*) || ' times' from account.journal
            where corrects is not null group by corrects having count(*) > 1
            """,
        )
    ),
)

_SAME_ANSWER = Query(
    Check(
        "I4",
        "repeat_gets_the_first_outcome",
        "重复提交得到首次结果的原字节",
        "a repeat was answered with the first outcome, byte for byte",
        ("account.outcome",),
    ),
    f"""
    select {_O} as key, 'the answer is not the bytes of an outcome of this number' as what
    from account.outcome o where o.kind = 'answer' and not exists (
        select from account.outcome f where f.institution_id = o.institution_id and f.claim_no = o.claim_no
            and f.kind <> 'answer' and f.value = o.value and f.target = o.target and f.member_id = o.member_id)
    """,
)

_REJECTED = Query(
    Check(
        "I4",
        "rejections_are_kept",
        "受理拒收原字节留存，只示本机构",
        "what intake rejected is kept under its id with the bytes it announced by the key of its member or institution, and shown"
        " to its own institution, once",
        ("intake.rejection", "intake.outgoing"),
    ),
    """
    with given as (
        select event_id, key, value, rejected_institution as shown_to from intake.outgoing where target = 'claims.rejected'
    ), shown as (
        select event_id, coalesce(array_agg(shown_to) filter (where shown_to is not null), '{}') as to from given group by 1
    ), kept as (
        -- What was sent need be no id, and may hold a NUL, which no text of Postgres can (a backslash before u0000 is none).
        -- What is plainly an id sees it.
        select event_id, institution_id as institution, institution_id ~ '^[!-~]{1,64}$' as plain,
            convert_to(coalesce(member_id, left(institution_id, 64)), 'utf8') as owner
        from intake.rejection cross join lateral json_to_record(
            replace(replace(convert_from(value, 'utf8'), '\\\\', '\\u005c'), '\\u0000', '\\u0001')::json
        ) as said (institution_id text, member_id text)
    )
    select g.event_id as key, 'was rejected, and is not kept with the bytes announced' as what
    from given g left join intake.rejection r using (event_id) where r.value is distinct from g.value
    union all
    select g.event_id, 'is announced under the key of another member or institution'
    from given g join kept k using (event_id) where g.key <> k.owner and position('\\x00'::bytea in g.key) = 0
    union all
    select k.event_id,
        'is of ' || coalesce(k.institution, 'nobody') || ', shown to ' || coalesce(array_to_string(s.to, ', '), 'nobody')
    from kept k left join shown s using (event_id)
    where coalesce(s.to, '{}') <> '{}' and s.to <> array[k.institution] or k.plain and s.to is distinct from array[k.institution]
    union all
    select event_id, 'is no rejection, and shown to ' || rejected_institution from intake.outgoing
    where rejected_institution is not null and target <> 'claims.rejected'
    """,
)

ONCE = family(_ONE_ROW, _ONE_JOURNAL, _SAME_ANSWER, _REJECTED)
