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


def described(source):
    content = source["content"]
    relation = content.get("m.relates_to", {})
    answered = relation.get("m.in_reply_to", {}).get("event_id")
    return {
        "event": source["event_id"],
        "type": source["type"],
        "sender": source["sender"],
        "content": content,
        "relation": relation.get("rel_type") or ("m.in_reply_to" if answered else None),
        "target": relation.get("event_id") or answered or content.get("redacts") or source.get("redacts"),
        "key": relation.get("key"),
        "pruned": "redacted_because" in source.get("unsigned", {}),
    }


class Client:
    def __init__(self, homeserver, user, device, token):
        self.nio = AsyncClient(homeserver, user, device_id=device)
        self.nio.restore_login(user, device, token)

    async def join(self, room):
        return {"room": checked(await self.nio.join(room)).room_id}

    async def read(self, room):
        """Texts of the room that this client can see, oldest first, as it understands them."""
        checked(await self.nio.sync(timeout=0))
        texts = [
            {"sender": event.sender, "body": event.body, "event": event.event_id}
            for event in await self.history(room)
            if isinstance(event, RoomMessageText)
        ]
        return {"texts": texts}

    async def read_all(self, room):
        """Events of the room that this client can see, oldest first, with what they are about."""
        checked(await self.nio.sync(timeout=0))
        return {"events": [described(event.source) for event in await self.history(room)]}

    async def history(self, room):
        events = []
        start = ""
        while start is not None:
            page = checked(await self.nio.room_messages(room, start or None, None, MessageDirection.front, PAGE))
            events += page.chunk
            start = page.end
        return events

    async def send(self, room, content, type="m.room.message"):
        response = checked(await self.nio.room_send(room, type, content))
        return {"event": response.event_id}

    async def react(self, room, event, key):
        relation = {"rel_type": "m.annotation", "event_id": event, "key": key}
        return await self.send(room, {"m.relates_to": relation}, "m.reaction")

    async def edit(self, room, event, text):
        new = {"msgtype": "m.text", "body": text}
        relation = {"rel_type": "m.replace", "event_id": event}
        return await self.send(room, {**new, "body": f"* {text}", "m.new_content": new, "m.relates_to": relation})

    async def reply(self, room, event, text):
        relation = {"m.in_reply_to": {"event_id": event}}
        return await self.send(room, {"msgtype": "m.text", "body": text, "m.relates_to": relation})

    async def redact(self, room, event, reason=None):
        return {"event": checked(await self.nio.room_redact(room, event, reason)).event_id}

    async def typing(self, room, is_typing):
        checked(await self.nio.room_typing(room, is_typing))
        return {}

    async def receipt(self, room, event):
        checked(await self.nio.update_receipt_marker(room, event))
        return {}

    async def signs(self, room):
        """Who is typing in the room, and the last event that each has read, as this client was told."""
        checked(await self.nio.sync(timeout=0))
        known = self.nio.rooms.get(room)
        if known is None:
            return {"typing": [], "read": {}}
        read = {user: receipt.event_id for user, receipt in known.read_receipts.items()}
        for user, threads in known.threaded_read_receipts.items():
            if "main" in threads:
                read[user] = threads["main"].event_id
        return {"typing": known.typing_users, "read": read}

    async def kick(self, room, user, reason=None):
        checked(await self.nio.room_kick(room, user, reason))
        return {}

    async def ban(self, room, user, reason=None):
        checked(await self.nio.room_ban(room, user, reason))
        return {}

    async def unban(self, room, user):
        checked(await self.nio.room_unban(room, user))
        return {}

    async def leave(self, room):
        checked(await self.nio.room_leave(room))
        return {}

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
