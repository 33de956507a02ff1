"""Each safety, taken out once: the smallest change that takes it out, and the test that must then fail.

`make test-planted` applies each to a copy of the tree and sees the named test fail; its result is kept in deploy/planted.md.
"""

from typing import Final, NamedTuple


class Patch(NamedTuple):
    """``old`` stands exactly once in ``file``. ``test``: a node of pytest."""

    safety: str
    file: str
    old: str
    new: str
    test: str


_LEASE, _LOOP, _HOLD = "shared/runtime/lease.py", "shared/runtime/loop.py", "shared/runtime/holdings.py"
_T_LEASE, _T_HOLD = "tests/integration/test_lease.py", "tests/unit/test_holdings.py"
_T_LOOP, _T_ANNOUNCED = "tests/integration/test_loop.py", "tests/integration/test_loop_announced.py"
_T_TROUBLE, _T_WORKERS = "tests/integration/test_loop_trouble.py", "tests/integration/test_loop_workers.py"

PATCHES: Final = (
    # -- who works
    Patch(
        "the fence: a batch of a worker whose lease moved is rolled back", _LEASE,
        "    if lost:\n        raise Fenced(lost)", "    if lost and not epochs:\n        raise Fenced(lost)",
        f"{_T_LEASE}::test_taking_raises_the_epoch_and_fences_who_held_it",
    ),
    Patch(
        "the marks of a fenced holder change nothing", _LEASE,
        "(l.topic, l.partition, l.epoch) = (m.topic, m.partition, m.epoch)", "(l.topic, l.partition) = (m.topic, m.partition)",
        f"{_T_LEASE}::test_the_marks_of_a_fenced_holder_change_nothing",
    ),
    Patch(
        "a holder frozen in its transaction is evicted", "shared/runtime/takeover.py",
        "ended = await leases.evict(tx, self.step.service, place)", "ended = 0",
        f"{_T_LEASE}::test_a_holder_frozen_inside_its_transaction_is_evicted",
    ),
    Patch(  # another order: without any the planner may happen to keep this one
        "lease rows are locked in one order", _LEASE,
        "order by topic, partition for update", "order by topic, partition desc for update",
        f"{_T_LEASE}::test_leases_are_locked_in_the_order_of_their_partitions",
    ),
    Patch(
        "what is announced again on taking a lease is marked at once", "shared/runtime/relay.py",
        "        await leases.mark(connection, service, [lease])\n", "",
        "tests/contract/test_runtime_books.py::test_what_was_announced_again_is_marked_when_the_lease_is_taken",
    ),
    Patch(
        "a worker takes nothing between being asked for its partitions and being told its new ones", _HOLD,
        "        if self.log is None or self._asked_back:", "        if self.log is None:",
        f"{_T_WORKERS}::test_a_worker_takes_nothing_back_before_it_is_told_what_is_its_own",
    ),
    # -- on which log
    Patch(
        "the digest of the record applied last must be the log's", "shared/runtime/takeover.py",
        "lease.last_digest is not None and digest(record) != lease.last_digest", "lease.last_digest is not None and not record",
        f"{_T_HOLD}::test_a_log_with_another_record_there_stops_at_once",
    ),
    Patch(
        "a log that starts past the next record stops", "shared/runtime/takeover.py",
        "    if start > lease.next_offset:", "    if start < 0:",
        f"{_T_HOLD}::test_a_log_must_reach_up_to_the_next_record",
    ),
    Patch(
        "a log that ends before the next record stops", "shared/runtime/takeover.py",
        "    if end < lease.next_offset:", "    if end < 0:",
        f"{_T_HOLD}::test_a_log_must_reach_up_to_the_next_record",
    ),
    Patch(
        "a lease of another Kafka cluster is not taken", "shared/runtime/takeover.py",
        "self.cluster_id, self.owner)", "'', self.owner)",
        f"{_T_LEASE}::test_a_lease_of_another_kafka_cluster_is_not_taken",
    ),
    Patch(
        "outsiders' aborted transactions are not read", "shared/runtime/kafka.py",
        'isolation_level="read_committed" if outsiders_write else "read_uncommitted"', 'isolation_level="read_uncommitted"',
        "tests/integration/test_loop_offsets.py::test_transactions_of_outsiders_leave_gaps_that_lose_nothing_and_show_nothing_aborted",
    ),
    # -- once
    Patch(
        "the inbox: an event decided before is dropped by adjudication", "services/adjudication/steps.py",
        "        if key in facts.known:\n            return None",
        "        if event.inbox_key is None:\n            return None",
        "tests/contract/test_adjudication_store.py::test_a_repeated_event_is_dropped_in_the_batch_and_after_it",
    ),
    Patch(
        "the inbox: an event answered before is dropped by account", "services/account/settlement.py",
        "    if key_of(event) in facts.answers:", "    if event.kind == '':",
        "tests/contract/test_account_store.py::test_a_repeated_event_in_one_batch_is_dropped",
    ),
    Patch(
        "same number, other content: a conflict, and the first stays", "services/intake/number.py",
        "    if submission.digest != standing.digest:", "    if not submission.digest:",
        "tests/properties/test_submission_number.py",
    ),
    Patch(
        "a commit of unknown outcome is resolved by the lease", _HOLD,
        "        self._troubles += 1\n        self._forget(touched, wait)", "        self._troubles += 1\n        assert wait",
        f"{_T_TROUBLE}::test_a_commit_of_unknown_outcome_is_resolved_by_the_lease",
    ),
    Patch(
        "a month of a region is paid once, however often commanded", "services/account/payment_run.py",
        "    if before is not None:\n        _same_figures(before, figured, month)\n",
        "    if before is not None and not month:\n",
        "tests/integration/test_fund_once.py::test_two_runs_at_once_pay_once",
    ),
    Patch(
        "what an institution pays back is booked once", "services/account/repayment.py",
        "    if before is not None:", "    if before is not None and not month:",
        "tests/integration/test_fund_repaid.py::test_two_commands_at_once_book_once",
    ),
    Patch(
        "a clearing window is paid once, however often commanded", "services/account/window_payment.py",
        "    if before := await", "    if not window_id and await",
        "tests/integration/test_fund_clear.py::test_two_commands_at_once_pay_once",
    ),
    # -- announced
    Patch(
        "the watermark: what was not acknowledged is announced again", "shared/runtime/relay.py",
        "    while lease.relayed_seq < lease.out_seq:", "    while not lease.topic:",
        f"{_T_ANNOUNCED}::test_what_was_committed_and_not_announced_is_announced_from_the_table_in_order",
    ),
    Patch(
        "the watermark: it is stored only as far as was acknowledged", _LEASE,
        "    relayed_seq = a.relayed_seq, projected_seq = a.projected_seq,",
        "    relayed_seq = a.out_seq, projected_seq = a.projected_seq,",
        f"{_T_ANNOUNCED}::test_what_was_committed_and_not_announced_is_announced_from_the_table_in_order",
    ),
    Patch(
        "a step without a table moves no offset before its announcement is acknowledged", _LOOP,
        "                await self._announce_first(done)", "                assert done is not None",
        f"{_T_ANNOUNCED}::test_a_step_without_a_table_moves_no_offset_before_its_announcement_is_acknowledged",
    ),
    Patch(
        "every announcement goes to the partition of its part", "shared/runtime/producer.py",
        "            partition = partition_of(message.part, self._partitions[message.topic])", "            partition = 0",
        f"{_T_ANNOUNCED}::test_every_announcement_goes_to_the_partition_of_its_part_in_order",
    ),
    Patch(
        "the projected mark stays behind what Redis did not take", _HOLD,
        "                lease.projection_broken = True  # of every lease of the batch: nothing of it was written",
        "                lease.projected_seq = lease.out_seq",
        f"{_T_HOLD}::test_what_a_batch_left_out_of_redis_is_remembered_for_its_lease_and_the_others_go_on",
    ),
    Patch(
        "nothing is read for a Redis that is away, and no batch waits for it", "shared/runtime/catch_up.py",
        "            if why := await self._projection.away():", "            if why := '':",
        "tests/unit/test_catch_up.py::test_a_redis_that_is_away_costs_a_question_now_and_then_and_nothing_else",
    ),
    Patch(
        "what Redis shows from before an old dump came back is brought up to date", "services/adjudication/projection.py",
        "    return version < stored.version", "    return version is None",
        "tests/integration/test_hot_counters.py::test_a_redis_that_fell_behind_is_brought_up_to_date",
    ),
    # -- poison
    Patch(
        "the quarantine's order: a later record of a claim waits behind an earlier one", "shared/runtime/batch.py",
        "        if entry.verdict is None and any(rank < own for rank in ranks):",
        "        if entry.verdict is None and not ranks:",
        "tests/unit/test_hold_back.py::test_what_waits",
    ),
    Patch(
        "a server's trouble sets nothing aside", "shared/runtime/database.py",
        "OFFENCES = (asyncpg.IntegrityConstraintViolationError,", "OFFENCES = (asyncpg.PostgresError,",
        f"{_T_TROUBLE}::test_trouble_of_a_server_is_tried_again_and_sets_nothing_aside",
    ),
    Patch(
        "a run of failures stops the partition", _LOOP,
        "FAILURES_IN_A_ROW = 25", "FAILURES_IN_A_ROW = 1_000_000",
        f"{_T_LOOP}::test_a_run_of_failures_stops_the_partition_and_the_others_go_on",
    ),
    Patch(
        "a constraint is bisected to its offender", _LOOP,
        "                if len(entries) > 1:\n", "                if len(entries) > 1_000_000:\n",
        f"{_T_LOOP}::test_a_constraint_is_bisected_to_its_offender_in_a_full_batch",
    ),
    # -- money
    Patch(
        "CHECK: a counter is never above its ceiling", "deploy/migrations/sql/0001_adjudication.sql",
        "check (used <= ceiling)", "check (used <= ceiling + 1)",
        "tests/contract/test_adjudication_store.py::test_the_table_itself_refuses_what_cannot_be",
    ),
    Patch(
        "CHECK: an account is never below zero", "deploy/migrations/sql/0001_account.sql",
        "check (balance >= 0)", "check (balance >= -1)",
        "tests/contract/test_account_store.py::test_the_tables_refuse_what_must_never_be",
    ),
    Patch(
        "trigger: a posting is never changed", "deploy/migrations/sql/0001_account.sql",
        "create trigger posting_append_only before update or delete or truncate on account.posting",
        "create trigger posting_append_only before delete or truncate on account.posting",
        "tests/contract/test_account_store.py::test_the_tables_refuse_what_must_never_be",
    ),
    Patch(
        "grant: the services may not change a posting", "deploy/migrations/sql/0001_roles.sql",
        "revoke update on account.journal, account.posting from gongji_service;",
        "revoke update on account.journal from gongji_service;",
        "tests/integration/test_seal.py::test_the_service_may_not_and_the_owner_cannot_change_what_is_written",
    ),
    Patch(
        "accounts are locked until the commit", "services/account/store.py",
        "where member_id = m for update) as b", "where member_id = m) as b",
        "tests/contract/test_account_store.py::test_two_batches_that_open_the_same_accounts_wait_for_each_other",
    ),
    Patch(  # another order, as with leases
        "accounts are locked in one order", "services/account/store.py",
        "(select m from unnest($1::text[]) as m order by m) as asked",
        "(select m from unnest($1::text[]) as m order by m desc) as asked",
        "tests/contract/test_account_store.py::test_accounts_are_locked_in_the_order_of_their_members",
    ),
    Patch(
        "a journal's postings move positive sums between two accounts", "services/account/ledger.py",
        "            if type(amount) is not int or amount <= 0:", "            if type(amount) is not int:",
        "tests/unit/test_ledger.py",
    ),
    Patch(
        "a claim whose quote is stale books nothing", "services/adjudication/engine.py",
        "        if stale is not None:", "        if stale is not None and not claim.total:",
        "tests/unit/test_quote.py::test_a_stale_quote_says_both_amounts_and_what_changed_and_books_nothing",
    ),
    Patch(
        "the account pays no more than was quoted", "services/account/settlement.py",
        "    if promised is not None:  # the patient", "    if promised is not None and not claim.total:  # the patient",
        "tests/unit/test_quote.py::test_the_account_pays_what_was_quoted_or_less",
    ),
    Patch(
        "a year worked out again: what a claim takes of each accumulator is compared too", "services/adjudication/year.py",
        " and taken(old) == taken(new)", "",
        "tests/unit/test_year.py::test_a_claim_that_only_counts_against_another_limit_now_is_revised_too",
    ),
    Patch(
        "a revision carries the instant of its command", "services/adjudication/year.py",
        "                accepted_at=command.accepted_at,\n", "",
        "tests/unit/test_year.py::test_a_revision_was_accepted_when_it_was_commanded",
    ),
)  # fmt: skip
