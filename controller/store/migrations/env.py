"""Alembic's entry point; the connection comes from ``controller.store.migrate``, which holds the lock."""

from __future__ import annotations

from alembic import context

from controller.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction is the one: all versions or none
)
context.run_migrations()
