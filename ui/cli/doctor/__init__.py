"""``cco doctor`` on the machine a person sits at: what the server cannot see, and what is left where no server answers.

::

    programs.py   docker, compose, buildx, git, tmux; the terminal; the port
    visit.py      asks the server, looks here, puts both together
    mending.py    ``--fix``: modes and leftovers here, the rest by the controller
    bundle.py     ``--bundle``: what goes into the archive
    secrets.py    which secrets this machine knows by value
    redaction.py  takes these, and what looks like one, out of every byte
    parts.py      instances and containers without user content
    archive.py    the file itself
"""
