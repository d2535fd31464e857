"""Members of the chat. `chat.py PORT` goes through all they can do; `chat.py PORT FILE` makes a file and waits for the end."""

import asyncio
import base64
import pathlib
import sys

import websockets

PORT = int(sys.argv[1])


def enter(path, **options):
    return websockets.connect(f"ws://127.0.0.1:{PORT}{path}", **options)


async def expect(member, *texts):
    for text in texts:
        heard = await asyncio.wait_for(member.recv(), 10)
        assert heard == text, f"{heard[:80]!r} instead of {text[:80]!r}"


async def ends(member, code, reason):
    """Reads until the server closes."""
    try:
        while True:
            await asyncio.wait_for(member.recv(), 20)
    except websockets.ConnectionClosed as closed:
        assert closed.rcvd is not None, f"closed without a word: {closed}"
        heard = (closed.rcvd.code, closed.rcvd.reason)
        assert heard == (code, reason), f"{heard} instead of {(code, reason)}"


async def talk():
    async with enter("/kitchen/ada") as ada:
        await expect(ada, "* ada is here")
        async with enter("/kitchen/grace") as grace, enter("/cellar/jean") as jean:
            await expect(ada, "* grace is here")
            await expect(grace, "* grace is here")
            await expect(jean, "* jean is here")
            await ada.send("who wants tea?")
            await grace.send("me \N{HOT BEVERAGE}")
            lines = {await asyncio.wait_for(ada.recv(), 10) for _ in range(2)}
            assert lines == {"ada: who wants tea?", "grace: me \N{HOT BEVERAGE}"}, lines
            await jean.send("hello?")
            await expect(jean, "jean: hello?")
        await expect(ada, "* grace has left")
        # Longer than two pings: members that answer stay.
        await asyncio.sleep(2.5)
        await ada.send("still here")
        await expect(ada, "ada: still here")


async def misbehave():
    async with enter("/attic") as nobody:
        await ends(nobody, 1008, "the path is /ROOM/NAME")
    async with enter("/attic/ada") as ada:
        await ada.send(b"bytes")
        await ends(ada, 1003, "this is a chat: text only")
    async with enter("/attic/ada") as ada:
        await ada.send("x" * 70_000)
        await ends(ada, 1009, "the message is too long")


async def read_slowly():
    """Who does not read while others talk much is closed, and the others are not held up."""
    async with enter("/hall/slow", max_queue=1, read_limit=1024) as slow:
        # A connection is in the room when it hears so, not yet when it is open.
        await expect(slow, "* slow is here")
        async with enter("/hall/quick", max_queue=4096) as quick:
            await expect(quick, "* quick is here")
            text = "x" * 60_000
            for _ in range(400):
                await quick.send(text)
                await expect(quick, f"quick: {text}")
            await ends(slow, 1008, "you read too slowly")


async def stay_mute():
    """Who does not answer pings is closed. The library answers by itself, so this is done by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    key = base64.b64encode(b"0123456789abcdef").decode()
    lines = ["GET /shed/mute HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    writer.write("\r\n".join(lines).encode())
    heard = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert b"101 Switching Protocols" in heard, heard
    assert heard.count(b"\x89\x00") >= 1, "no ping"
    assert b"you do not answer pings" in heard, heard


async def stay(file):
    async with enter("/kitchen/ada") as ada, enter("/cellar/jean") as jean:
        await expect(ada, "* ada is here")
        await expect(jean, "* jean is here")
        pathlib.Path(file).touch()
        await ends(ada, 1001, "the server stops")
        await ends(jean, 1001, "the server stops")


async def main():
    if len(sys.argv) > 2:
        await stay(sys.argv[2])
    else:
        await asyncio.gather(talk(), misbehave(), read_slowly(), stay_mute())


asyncio.run(main())
