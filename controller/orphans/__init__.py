"""What is ours on this machine and belongs to no declared instance: found, told, and taken away with care.

::

    decide.py   pure: from what is there and what is declared to the orphans, and whether each may go
    survey.py   looks at everything: runtimes, state directory, repositories, then the database
    sweep.py    removes what a person saw and chose, saving the work in it first
    timer.py    removes by itself what is surely harmless, and stops what runs for nobody

What is declared is the uids in the database, never names: an instance that was deleted and declared anew is another
one. The rule behind all of it: a database that was lost, or put back from an older copy, deletes nothing. Whether an
instance was deleted is therefore never concluded from its absence, only from the memory of its deletion.
"""
