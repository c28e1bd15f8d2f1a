"""Workloads as processes of this machine, without Docker; the entry point ``process`` of ``cc_orchestrator.runtimes``.

It does **not** isolate: an instance can do what its user can. See ``docs/process-runtime.md``.

::

    runtime.py      the verbs of the protocol, in terms of the modules below
    runs.py         one run of a workload: begun, looked at, ended, cleared
    records.py      what is known of each workload: small files below STATE/process, and who writes which
    shim.py         one small process per workload: outlives the controller, starts the agent, records its end
    launch.py       what the shim is told, and how its child becomes the agent: user, limits, environment
    cgroups.py      limits in a cgroup of the workload's own, version 1 or 2, where that can be written
    processes.py    the kernel's view: who is who although pids come again, who belongs to whom, signals
    environment.py  what a workload is made of on this machine, and the ways to it
    programs.py     Claude Code, tmux, git and the agent on this machine, and Claude's hooks
    access.py       who may pass which folder
    homes.py        HOME folders, which outlive workloads
    events.py       inotify on the folder of records
    streams.py      commands and terminals beside a workload
    logs.py         what a workload printed, bounded
    belongings.py   everything an installation has here, and the removal of one piece of it
    refusals.py     what cannot be done, in words

``ProcessRuntime`` is not imported here: every shim would carry it in its memory.
"""
