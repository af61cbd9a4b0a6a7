"""Loading what comes next while the client still takes what came before."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable


async def read_ahead[Item, Loaded](
    items: AsyncIterable[Item] | Iterable[Item],
    load: Callable[[Item], Awaitable[Loaded]],
    *,
    depth: int,
) -> AsyncIterator[Loaded]:
    """Load items in order, `depth` of them at once at most; what is not taken is cancelled."""
    loading: deque[asyncio.Future[Loaded]] = deque()
    try:
        async for item in items if isinstance(items, AsyncIterable) else _each(items):
            loading.append(asyncio.ensure_future(load(item)))
            if len(loading) >= depth:
                yield await loading.popleft()
        while loading:
            yield await loading.popleft()
    finally:
        for future in loading:
            future.cancel()
        await asyncio.gather(*loading, return_exceptions=True)


async def _each[Item](items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item
