"""A plain Matrix client for the tests: one JSON command a line on standard input, one JSON answer a line."""

import asyncio
import json
import sys

from nio import AsyncClient, MessageDirection, RoomMessageText
from nio.responses import ErrorResponse

PAGE = 100


def checked(response):
    if isinstance(response, ErrorResponse):
        raise RuntimeError(f"{response.status_code} {response.message}")
    return response


class Client:
    def __init__(self, homeserver, user, device, token):
        self.nio = AsyncClient(homeserver, user, device_id=device)
        self.nio.restore_login(user, device, token)

    async def join(self, room):
        return {"room": checked(await self.nio.join(room)).room_id}

    async def read(self, room):
        """Texts of the room that this client can see, oldest first, as it understands them."""
        checked(await self.nio.sync(timeout=0))
        texts = []
        start = ""
        while start is not None:
            page = checked(await self.nio.room_messages(room, start or None, None, MessageDirection.front, PAGE))
            texts += [
                {"sender": event.sender, "body": event.body, "event": event.event_id}
                for event in page.chunk
                if isinstance(event, RoomMessageText)
            ]
            start = page.end
        return {"texts": texts}

    async def send(self, room, content):
        response = checked(await self.nio.room_send(room, "m.room.message", content))
        return {"event": response.event_id}

    async def put_state(self, room, type, content):
        response = checked(await self.nio.room_put_state(room, type, content))
        return {"event": response.event_id}


async def main():
    reader = asyncio.StreamReader(limit=1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    client = None
    while line := await reader.readline():
        command = json.loads(line)
        name = command.pop("do")
        try:
            if name == "open":
                client = Client(**command)
                answer = {}
            else:
                answer = await getattr(client, name)(**command)
        except Exception as error:  # the test is told of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    if client is not None:
        await client.nio.close()


asyncio.run(main())
