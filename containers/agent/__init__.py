"""The agent: the first process of an instance's container.

It starts Claude Code in tmux, watches it, types prompts into it and tells the controller what it sees, over the
unix socket in the instance's own folder. Start reading at `__main__`, then `supervisor`, which owns the parts and the
order of things; every other module has one duty:

- `config`, `places`: what to run (``instance.json``) and where files are.
- `credentials`, `seeding`, `command`, `launch`: from a fresh HOME to Claude's own argv and environment.
- `claude`: that process's life; `layouts`, `terminal`: tmux, through libtmux; `process`, `viewers`: the kernel's view.
- `hooks` (server) and `hook` (the program Claude runs), `session_file`: the two sources of what Claude is doing;
  `session` derives the state from them, purely.
- `ledger`, `delivery`, `editor`: prompts from the controller, typed once and acknowledged.
- `board` holds what is known; `usage`, `refs`, `report`, `reporter`, `link`: what is told, and over which connection.

Nothing of the rest of the project is imported: the image holds this package, libtmux and psutil.
"""
