"""The command line: ``cc-orchestrator``, short ``cco``.

Read ``main`` (the entry point and the one place where errors become words and exit codes), then
``command_table`` (what exists), then any module of ``commands``. Everything goes over HTTP through ``api.client``.
"""
