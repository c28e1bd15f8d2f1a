"""A thousand instances declared at once: how many become Ready in a second where engine, git and agents cost nothing.

Real server, real controller, real database, in processes of their own; four clients POST, one watches.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .fake_controller import REPOSITORY
from .findings import Arm, Finding
from .intervals import median
from .product import Product, running_product
from .run import Run, timed
from .single import main
from .watcher import Watcher, is_ready

CLIENTS = 4


def measure(run: Run) -> list[Finding]:
    """Declare them in a fresh installation, once for each pair."""
    arm = Arm("s")
    for _ in range(run.options.pairs):
        names = run.names(run.options.posts, "post")
        controller = ("bench.fake_controller", "run")
        with running_product(run.directory / names[0], "ccobenchfake", {}, controller) as product:
            product.register(REPOSITORY)
            run.settle()
            timed(arm, product.cpu, lambda product=product, names=names: _declare(product, names))  # type: ignore[misc]  # bound now
        run.say(f"posts: {run.options.posts / arm.samples[-1]:.0f}/s")
    rates = [run.options.posts / seconds for seconds in arm.samples]
    return [Finding("posts.rate", median(rates), {"product": arm})]


def _declare(product: Product, names: list[str]) -> float:
    with Watcher(product.client) as watcher, ThreadPoolExecutor(CLIENTS) as pool:
        shares = [names[number::CLIENTS] for number in range(CLIENTS)]
        began = min(pool.map(product.declare, shares))
        seen = watcher.until(set(names), is_ready, timeout=300)
    return max(seen.values()) - began


if __name__ == "__main__":
    main(measure)
