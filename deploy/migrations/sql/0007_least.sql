-- What no service changes, none may change: 0001_roles.sql lets them update whatever is not a posting or a journal.
-- Decisions, answers, packs, obligations and the texts of incidents stand as they were written.

revoke update on
    account.outcome, account.credit,
    adjudication.decision, adjudication.pack,
    crossregion.obligation, crossregion.net_position, crossregion.net_region,
    intake.rejection, intake.outgoing
from gongji_service;

-- Of these, only what becomes of them (and the place, when a new log is adopted): never the bytes that were set aside, nor who
-- commanded what and why.
revoke update on runtime.quarantine, runtime.command_log from gongji_service;
grant update (record_offset, state, closed_at, closed_why) on runtime.quarantine to gongji_service;
grant update (after) on runtime.command_log to gongji_service;

-- Keys are made and ended by the owner (gongji institution key); the default privileges of the schema had let services do it too.
revoke insert, update on intake.api_key from gongji_service;
