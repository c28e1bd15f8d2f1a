"""Writing YAML as people do; ``serial`` loads it for ``-o yaml``."""

from __future__ import annotations

import yaml


class _Dumper(yaml.SafeDumper):
    """Several lines of text are written as a block, not as one line with escapes."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def dump(data: object) -> str:
    """Return plain values as YAML without a final line break, in the order they have."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text.rstrip("\n")
