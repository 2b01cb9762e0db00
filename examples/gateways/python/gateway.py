#!/usr/bin/env python3
"""A gateway for Duragent in Python, without dependencies: a chat over TCP.

People connect with `nc 127.0.0.1 4321`, say their name, and write lines; each name is a chat of its
own. What anybody says, and what the bot posts, becomes a line of JSON in a file before it counts:
that file is the platform's memory. The gateway's cursor is a line number in it, so what was said
while the server was away is passed on later, and nothing twice.

Config: port (4321; 0: any), file (chat.jsonl), address_file (where the address is written).
"""
import json, os, re, socket, sys, threading, time

MAX_LINE, MAX_SAID, MAX_LENGTH, MAX_PEOPLE = 1024 * 1024, 16 * 1024, 4000, 100
started = time.monotonic()
lock = threading.RLock()  # held to write to the file, to people and to stdout
lines = []                # what the file holds: {"n", "chat", "who", "text", "at", "nonce"}
people = []               # (chat, socket) of everybody who reads
file, is_over = None, False

def emit(**event):
    """Writes one event. Everything on stdout is one: a print() would break the protocol."""
    global is_over
    with lock:
        if not is_over:  # nothing comes after `shutdown`
            is_over = event["type"] == "shutdown"
            sys.stdout.buffer.write(json.dumps(event).encode() + b"\n")
            sys.stdout.buffer.flush()

def keep(chat, who, text, nonce=None):
    """Makes a line durable, then shows it and passes it on."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with lock:
        line = {"n": len(lines) + 1, "chat": chat, "who": who, "text": text, "at": at, "nonce": nonce}
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        lines.append(line)
        for _, person in filter(lambda it: it[0] == chat, people):
            try:  # never wait for one who does not read
                person.send(f"{who}: {text}\n".encode(), socket.MSG_DONTWAIT)
            except OSError:
                pass
        tell(line)
        return line

def tell(line):
    """Passes on what a person said; after a restart perhaps again, under the same event_id."""
    if line["who"] != "bot":
        emit(type="message_received", event_id=f"line-{line['n']}", cursor={"line": line["n"]},
             message_id=str(line["n"]), chat_id=line["chat"], timestamp=line["at"],
             sender={"id": line["who"]}, content={"text": line["text"]},
             routing={"chat_type": "dm", "chat_id": line["chat"], "sender_id": line["who"]})

def talk(person):
    """Lives as long as one connection."""
    try:
        person.sendall(b"Who are you? (a-z, 0-9, -)\n")
        reader = person.makefile("rb")
        chat = reader.readline(100).decode(errors="replace").strip()
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", chat) or chat == "bot":
            return person.sendall(b"That is no name here.\n")
        person.settimeout(None)
        with lock:
            people.append((chat, person))
        while said := reader.readline(MAX_SAID):
            if text := said.decode(errors="replace").rstrip("\r\n"):
                keep(chat, chat, text)
    except OSError:
        pass  # gone
    finally:
        with lock:
            people[:] = [it for it in people if it[1] is not person]
        person.close()

def accept(server):
    places = threading.Semaphore(MAX_PEOPLE)
    while places.acquire():
        person, _ = server.accept()
        person.settimeout(30)  # to say a name
        threading.Thread(target=lambda it: (talk(it), places.release()), args=[person], daemon=True).start()

def configure(config, cursor):
    global file
    file = open(config.get("file", "chat.jsonl"), "ab+")
    file.seek(0)
    text = file.read()
    file.truncate(end := text.rfind(b"\n") + 1)  # half a line is left of a crash: it never counted
    lines.extend(map(json.loads, text[:end].splitlines()))
    server = socket.create_server(("127.0.0.1", config.get("port", 4321)))
    address = "%s %d" % server.getsockname()
    if "address_file" in config:
        with open(config["address_file"], "w") as address_file:
            address_file.write(address)
    print(f"people connect with: nc {address}", file=sys.stderr)
    emit(type="ready", gateway="tcp", version="1", protocol="v1", capabilities=["ack", "nonce", "find"],
         limits={"max_length": MAX_LENGTH, "length_unit": "chars"})
    with lock:  # what the server has not got yet comes before anything new
        for line in lines[(cursor or {"line": 0})["line"]:]:
            tell(line)
    threading.Thread(target=accept, args=[server], daemon=True).start()

def answer(command):
    """What a request is answered with."""
    kind, chat, text, nonce = map(command.get, ("type", "chat_id", "content", "nonce"))
    if kind == "ping":
        return {"type": "pong", "uptime_seconds": time.monotonic() - started, "connected": True}
    if kind not in ("send_message", "find_message"):
        return {"type": "command_error", "code": "invalid_request", "message": f"there is no {kind} here"}
    mine = [it for it in lines if it["who"] == "bot" and it["chat"] == chat]
    if kind == "find_message":
        found = [it for it in mine if (it["nonce"] == nonce if nonce else it["text"] == text)]
        return {"type": "message_found", "message_id": str(found[-1]["n"])} if found else {"type": "message_not_found"}
    if not (isinstance(chat, str) and chat and isinstance(text, str) and command.get("format") in ("text", "markdown")):
        return {"type": "command_error", "code": "invalid_request", "message": "chat_id, content and format are needed"}
    if len(text) > MAX_LENGTH:
        return {"type": "command_error", "code": "too_long", "message": f"{MAX_LENGTH} characters are allowed"}
    # One whose nonce is known was posted before, perhaps by the run before this one.
    line = next((it for it in mine if nonce and it["nonce"] == nonce), None) or keep(chat, "bot", text, nonce)
    return {"type": "command_ok", "message_id": str(line["n"])}

def commands():
    """The server's commands; a line that is too long or no JSON object is skipped."""
    while line := sys.stdin.buffer.readline(MAX_LINE + 1):
        is_whole = line.endswith(b"\n")
        while line and not line.endswith(b"\n"):
            line = sys.stdin.buffer.readline(MAX_LINE)
        try:
            command = json.loads(line) if is_whole else None
        except (ValueError, RecursionError):
            continue
        if isinstance(command, dict):
            yield command

try:
    for command in commands():
        if command.get("type") == "configure":
            configure(command.get("config", {}), command.get("cursor"))
        elif command.get("type") == "shutdown":
            break
        elif "request_id" in command:
            emit(**answer(command), request_id=command["request_id"])
        # `ack` needs nothing: the file has it all, and the cursor says how far it was passed on.
    emit(type="shutdown", reason="asked")
except BrokenPipeError:
    os._exit(1)  # the server is gone
except Exception as error:
    emit(type="error", code="failed", message=str(error))
    raise
os._exit(0)  # threads still wait for people
