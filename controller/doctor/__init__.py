"""Is everything well, and if not, what is to be done? Nothing here changes anything, but for the repairs.

The controller answers for what only it can see, ``cco doctor`` for the machine a person sits at; both use the same
examiner, and the command line falls back to the checks of files where no controller answers.

::

    examination.py  runs looks side by side, each with a deadline
    disk.py         free bytes and inodes            database.py   integrity and size, by SQLite alone
    leftovers.py    files of programs that are dead  clock.py      clocks that were set
    engine.py       the Docker engine, image, network
    capacity.py     memory and cores against declared limits
    fleet.py        repositories, credentials, instances, agents, events, orphans
    doctor.py       all of the controller's, and its repairs; served by ``streams/checks.py``
"""
