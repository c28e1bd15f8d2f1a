"""The store over HTTP, and the one client of it.

The server half begins in ``app`` (which routers, which order of checks); ``admission`` says what may be stored;
``watch`` streams changes; ``auth`` and ``gate`` keep the door. The client half is ``client``; it shares only
``wire`` (what both ends write on the wire) with the server.
"""
