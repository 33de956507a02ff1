-- What is booked is not changed (0001_roles.sql grants update on every table to come).
revoke update on account.opening from gongji_service;
