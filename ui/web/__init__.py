"""The dashboard: NiceGUI pages over :mod:`api.client`.

Start reading at :mod:`.app`, which puts the pages on the server; :mod:`.feed` is where their data comes from,
:mod:`.view` turns it into texts, :mod:`.fleet` and :mod:`.instance` are the pages, :mod:`.parts` the elements
they are made of, ``components/`` those elements' browser halves and ``static/`` the look.
"""
