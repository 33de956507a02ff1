"""Alembic's entry: the program gives a connection (``deploy.migrations.run``); plain SQL does the rest."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None, transactional_ddl=True, version_table_schema="public")
with context.begin_transaction():
    context.run_migrations()
