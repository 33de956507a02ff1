-- As in 0001_roles.sql, for the tables that came with crediting.

grant select, insert, update on account.credit_run to gongji_service;
grant select, insert on account.crediting, account.closing, account.worklist to gongji_service;
grant select on account.credit_run, account.crediting, account.closing, account.worklist to gongji_ops;

-- What is booked is not changed (0001_roles.sql grants update on every table to come). The triggers are the second belt.
revoke update on account.crediting, account.closing, account.worklist from gongji_service;
