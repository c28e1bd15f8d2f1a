"""The command line: ``cc-orchestrator``, short ``cco``.

Read ``program`` (the one place where errors become words and exit codes; ``main`` only starts it), then
``command_table`` (what exists), then any module of ``commands``. Everything goes over HTTP through ``api.client``.
"""
