"""How objects look in a terminal: the one place that knows colours, widths, ages and columns.

``terminal`` is what we write to, ``table`` aligns, ``humanize`` shortens, ``columns`` and ``description`` know the
kinds, ``serial`` writes JSON and YAML. Nothing is imported here: ``cco version`` needs none of it.
"""
