"""Parts of a page that change while it is looked at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.responses import StreamingResponse

from burnish.web.site import Site

LOOK_SECONDS = 1.0


def follow(site: Site, look: Callable[[], Mapping[str, str]]) -> StreamingResponse:
    """What ``look`` gives (HTML by the name of the part) as it changes, as server-sent events."""
    return StreamingResponse(changes(site, look), media_type="text/event-stream")


async def changes(site: Site, look: Callable[[], Mapping[str, str]]) -> AsyncIterator[str]:
    """The events of ``follow``, until the site stops."""
    shown: Mapping[str, str] = {}
    while not site.stopping.is_set():
        now = await asyncio.to_thread(look)
        for name, html in now.items():
            if shown.get(name) != html:
                yield f"data: {json.dumps({'part': name, 'html': html})}\n\n"
        if now == shown:
            yield ": still here\n\n"  # a client that went away is noticed when something is sent
        shown = now
        try:
            await asyncio.wait_for(site.stopping.wait(), LOOK_SECONDS)
        except TimeoutError:
            continue
