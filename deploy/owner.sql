-- Run once by the superuser of a new Postgres: the owner of Gongji's database. It makes the services' roles and the
-- tests' databases, may look at sessions and end them, and is no superuser. Its password is set by whoever runs this.
-- A blank line ends each statement (deploy/local feeds them to a server that does not listen yet).

create role gongji login createrole createdb;

grant pg_monitor, pg_signal_backend to gongji;

create database gongji owner gongji;

