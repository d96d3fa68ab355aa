"""A server that is two: each statement goes to a gateway, and then to a twin of the server behind it.

What the gateway refuses fails on the twin too, at that very point, so that both servers stay in one state. Everything
else runs on the twin as the client sent it, and its answer must be the gateway's, message by message. So nothing has to
be guessed about what follows from a refusal: the twin has refused the same.

Ids that the servers have given and times that they have read may differ; which belongs to which is learned from the
rows, and put into what the twin gets.
"""

import asyncio
import collections
import datetime
import itertools
import re
import struct

# Why a statement may be refused where the rulebook itself refuses nothing.
REASONS = {
    "not_understood": "the gateway can't tell what the statement would touch",
    "pinned_setting": "it changes a setting on which the reading of statements rests",
    "mask": "it can't be rewritten so that a mask is sure to hold",
    "syntax": "it is not SQL by the gateway's grammar",
    "catalog": "the catalog could not be read while somebody else changed it",
    "stale_plan": "what its name stands for was judged by definitions that have changed",
    "not_as_planned": "its result has other columns than the catalog let expect; nothing of it is shown",
    "redefined": "a definition that it rests on has changed since it was judged; nothing of it ran",
    "one_string": "it changes definitions, or ends a transaction, in one string with a statement that reads behind it",
    "session": "it would make the session unreadable for the gateway, which ends",
}

FIRST_OWN_OID = 16384
OID_TYPE = 26


class Report:
    """What became of all statements."""

    def __init__(self):
        self.statements = 0
        # What each server counts of itself, and chance.
        self.passed_over = set()
        self.refused = collections.Counter()
        self.codes = collections.defaultdict(set)
        self.details = collections.Counter()
        self.differences = 0
        self.tests = collections.defaultdict(collections.Counter)

    @property
    def wrong(self):
        return self.differences + sum(rule not in REASONS for rule in self.refused)

    def refuse(self, test, rule, code, message):
        self.refused[rule] += 1
        self.codes[rule].add(code)
        self.tests[test]["refused"] += 1
        kind = re.match(r"(\w+(?: \w+)?) [`\"].*?[`\"] (.*)", message)
        self.details[rule, f"{kind[1]}: {kind[2]}" if kind else re.sub(r"[`\"][^`\"]*[`\"]|\d+", "...", message)] += 1

    def differ(self, test, text, gateway, twin):
        self.tests[test]["differences"] += 1
        self.differences += 1
        print("\n".join([f"{test}: {text}", *("+ " + line for line in gateway), *("- " + line for line in twin)]), flush=True)

    def markdown(self):
        lines = [
            f"{self.statements} statements: {self.refused.total()} refused, {self.differences} answered otherwise",
            "", "| reason | SQLSTATE | statements | a statement is refused because |", "|---|---|---:|---|",
        ]
        for rule, count in self.refused.most_common():
            codes = ", ".join(sorted(self.codes[rule]))
            lines.append(f"| `{rule}` | {codes} | {count} | {REASONS.get(rule, '**not published**')} |")
        lines += ["", "Answered otherwise, as two servers do:", "", *(f"- `{' '.join(text.split())[:100]}`" for text in sorted(self.passed_over))]
        lines += ["", "| reason | in words | statements |", "|---|---|---:|"]
        lines += [f"| `{rule}` | {words} | {count} |" for (rule, words), count in self.details.most_common()]
        lines += ["", "| test | statements | refused | other answers |", "|---|---:|---:|---:|"]
        for test, counts in sorted(self.tests.items()):
            lines.append(f"| {test} | {counts['statements']} | {counts['refused']} | {counts['differences']} |")
        return "\n".join(lines)


class Mirror:
    """Listens on loopback. Run it by `serve`."""

    def __init__(self, gateway, twin, report):
        self.gateway, self.twin, self.report = gateway, twin, report
        self.known = {}
        self.keys = {}
        self.leaving = set()

    async def serve(self):
        """Begins to listen; the port."""
        self.server = await asyncio.start_server(self.client, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def client(self, reader, writer):
        ends = []
        try:
            packet = await start_up(reader, writer)
            if struct.unpack(">I", packet[4:8])[0] == CANCEL:
                await self.cancel(packet)
                return
            await asyncio.gather(*self.leaving)
            for port in (self.gateway, self.twin):
                ends.append(End(*await asyncio.open_connection("127.0.0.1", port)))
            await Session(self, ends, reader, writer).run(packet)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for end in [End(reader, writer), *ends]:
                end.writer.close()

    async def leave(self, *ends):
        """Waits until both servers have cleared up after a session: who connects next may look at what it left."""
        gone = asyncio.gather(*(end.until(b"") for end in ends))
        self.leaving.add(gone)
        await gone
        self.leaving.discard(gone)

    async def cancel(self, packet):
        for port, key in ((self.gateway, packet[8:]), (self.twin, self.keys.get(packet[8:]))):
            if key:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(packet[:8] + key)
                await writer.drain()
                writer.close()


class Session:
    def __init__(self, mirror, ends, reader, writer):
        self.mirror, self.reader, self.writer = mirror, reader, writer
        self.gateway, self.twin = ends
        self.status = b"I"
        # Of this session only: they are small numbers, which mean something else elsewhere.
        self.transactions = {}

    async def run(self, packet):
        words = packet[8:].split(b"\0")
        settings = dict(zip(words[::2], words[1::2]))
        self.test = settings.get(b"application_name", b"").decode().removeprefix("pg_regress/") or "-"
        answers = []
        for end in (self.gateway, self.twin):
            end.writer.write(packet if end is self.gateway else pinned(packet))
            answers.append(await end.until(b"Z"))
        self.send(answers[0])
        keys = [next((body for tag, body in messages if tag == b"K"), None) for messages in answers]
        self.mirror.keys[keys[0]] = keys[1]
        if not all(keys):
            self.compare("(the start of a session)", *answers)
            return
        batch = []
        while True:
            batch.append(await message(self.reader))
            tag = batch[-1][0]
            if tag == b"X":
                for end in (self.gateway, self.twin):
                    end.send(batch)
                await self.mirror.leave(self.gateway, self.twin)
                return
            if tag in (b"Q", b"S", b"F"):
                if not await self.exchange(batch):
                    return
                batch = []

    async def exchange(self, batch):
        """One turn up to ReadyForQuery; whether the session goes on."""
        text = statement(batch)
        self.mirror.report.statements += 1
        self.mirror.report.tests[self.test]["statements"] += 1
        self.gateway.send(batch)
        answer = await self.gateway.until(b"ZG")
        refusal = refused(answer)
        if refusal:
            self.mirror.report.refuse(self.test, *refusal)
            # A result that was stopped had run: outside a transaction its effects are there.
            ran = refusal[0] == "not_as_planned" and self.status == b"I"
            self.twin.send(self.translated(batch) if ran else FAILS)
            twin = await self.twin.until(b"ZG")
            self.send(answer)
            if ended(answer) or ended(twin):
                return False
            self.status = answer[-1][1]
            if answer[-1] != twin[-1]:
                self.differ(text, answer[-1:], twin[-1:])
            return True
        self.twin.send(self.translated(batch))
        twin = await self.twin.until(b"ZG")
        while not ended(answer) and answer[-1][0] == b"G":
            self.send(answer)
            more = await self.copied(text, answer, twin)
            if more is None:
                return False
            answer, twin = more
        if not self.agree(text, answer, twin) and not await self.agree_later(text, batch, answer):
            self.differ(text, answer, twin)
        self.send(answer)
        if not ended(answer):
            self.status = answer[-1][1]
        return not ended(answer)

    async def copied(self, text, answer, twin):
        """Hands the client's data on; the answers to it."""
        self.compare(text, answer, twin)
        data = []
        while not data or data[-1][0] not in (b"c", b"f"):
            data.append(await message(self.reader))
        self.gateway.send(data)
        if not ended(twin) and twin[-1][0] == b"G":
            self.twin.send(data)
            return [await end.until(b"ZG") for end in (self.gateway, self.twin)]
        return None

    def send(self, messages):
        for tag, body in messages:
            self.writer.write(tag + struct.pack(">I", len(body) + 4) + body)

    def compare(self, text, gateway, twin):
        if not self.agree(text, gateway, twin):
            self.differ(text, gateway, twin)

    def agree(self, text, gateway, twin):
        if self.same(text, gateway, twin):
            return True
        if not re.search("order +by", text, re.IGNORECASE) and self.same(text, in_order(gateway), in_order(twin)):
            return True
        if OF_THE_SERVER.search(text):
            self.mirror.report.passed_over.add(text)
            return True
        return False

    async def agree_later(self, text, batch, answer):
        """Asks both again for a list of what all sessions have made: one may have come by between the two."""
        if not LISTING.fullmatch(text) or ended(answer) or answer[-1][1] == b"E":
            return False
        for _ in range(5):
            await asyncio.sleep(0.2)
            self.gateway.send(batch)
            self.twin.send(self.translated(batch))
            if self.agree(text, *[await end.until(b"ZG") for end in (self.gateway, self.twin)]):
                self.mirror.report.passed_over.add(text)
                return True
        return False

    def differ(self, text, *answers):
        self.mirror.report.differ(self.test, text, *([shown(m) for m in compared(a)][:40] for a in answers))

    def same(self, text, gateway, twin):
        gateway, twin = compared(gateway), compared(twin)
        if len(gateway) != len(twin):
            return False
        oids = set()
        for (tag, body), (other_tag, other) in zip(gateway, twin):
            if tag != other_tag:
                return False
            if tag == b"T":
                fields = columns(body)
                oids = {place for place, field in enumerate(fields) if field[3] == OID_TYPE}
                if [without_own_oids(field) for field in fields] != [without_own_oids(field) for field in columns(other)]:
                    return False
            elif tag == b"D" and body != other:
                if not self.same_row(text, values(body), values(other), oids):
                    return False
            elif tag == b"V" and body[:4] == other[:4] == FOUR_BYTES:
                ids = [str(struct.unpack(">I", of[4:])[0]).encode() for of in (body, other)]
                if body != other and not all(map(is_own_oid, ids)):
                    return False
                self.mirror.known[ids[0]] = ids[1]
            elif body != other and numberless(body) != numberless(other):
                return False
        return True

    def same_row(self, text, row, twin, oids):
        if len(row) != len(twin):
            return False
        for place, (value, other) in enumerate(zip(row, twin)):
            if value == other or numberless(value) == numberless(other):
                continue
            if TRANSACTION_ID.search(text) and is_number(value) and is_number(other):
                self.transactions[value] = other
                continue
            of_the_moment = place in oids and is_own_oid(value) and is_own_oid(other) or is_of_today(value) and is_of_today(other)
            if not of_the_moment:
                return False
            self.mirror.known[value] = other
        return True

    def translated(self, batch):
        """What the client sends, with the twin's ids in it: written out in SQL, as four bytes in a call."""
        def written(found):
            return self.transactions.get(found[0]) or self.mirror.known.get(found[0], found[0])

        def packed(found):
            known = self.mirror.known.get(str(struct.unpack(">I", found[1])[0]).encode())
            return FOUR_BYTES + (struct.pack(">I", int(known)) if known else found[1])

        translate = {
            b"Q": lambda body: re.sub(WORDS, written, body),
            b"P": lambda body: re.sub(WORDS, written, body),
            b"F": lambda body: body[:4] + re.sub(FOUR_BYTES + b"(....)", packed, body[4:], flags=re.DOTALL),
        }
        return [(tag, translate.get(tag, bytes)(body)) for tag, body in batch]


class End:
    """A connection to one of the two."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, messages):
        for tag, body in messages:
            self.writer.write(tag + struct.pack(">I", len(body) + 4) + body)

    async def until(self, tags):
        """All messages up to one of `tags`, or to the end of the connection."""
        messages = []
        try:
            while True:
                messages.append(await message(self.reader))
                if messages[-1][0] in tags:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        return messages


async def start_up(reader, writer):
    while True:
        length = await reader.readexactly(4)
        packet = length + await reader.readexactly(struct.unpack(">I", length)[0] - 4)
        if struct.unpack(">I", packet[4:8])[0] not in (SSL, GSS):
            return packet
        writer.write(b"N")


def pinned(packet):
    """The start of a session with what the gateway pins in a judged one."""
    settings = packet[8:-1] + b"".join(name + b"\0" + value + b"\0" for name, value in PINNED.items()) + b"\0"
    return struct.pack(">I", len(settings) + 8) + packet[4:8] + settings


async def message(reader):
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(struct.unpack(">I", head[1:])[0] - 4)


def ended(messages):
    return not messages or messages[-1][0] not in b"ZG"


def statement(batch):
    return " ".join(body.rstrip(b"\0").decode(errors="replace") for tag, body in batch if tag in (b"Q", b"P"))


def refused(messages):
    """The rule, the SQLSTATE and the words of a refusal, if one is among `messages`."""
    for tag, body in messages:
        if tag != b"E":
            continue
        fields = error_fields(body)
        rule = re.fullmatch(r"rule (\w+)(?:, decision \w+)?", fields.get("D", ""))
        if rule:
            return rule[1], fields["C"], fields["M"]
        if fields["C"] == "0A000" and re.match(r"the result has \d+ columns where \d+ were planned", fields["M"]):
            return "not_as_planned", fields["C"], fields["M"]
        if fields["C"] == "40001" and fields["M"].startswith("a definition that the statement rests on"):
            return "redefined", fields["C"], fields["M"]
        if fields["M"].endswith("behind the gateway"):
            return "session", fields["C"], fields["M"]
    return None


def compared(messages):
    """Without what comes at any time."""
    return [(tag, body) for tag, body in messages if tag not in (b"S", b"A", b"K", b"R")]


def error_fields(body):
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


def columns(body):
    """name, table, column, type, and the rest, of each column of a RowDescription."""
    at, found = 2, []
    while at < len(body):
        end = body.index(b"\0", at)
        found.append((body[at:end], *struct.unpack(">IhIhih", body[end + 1 : end + 19])))
        at = end + 19
    return found


def without_own_oids(field):
    name, table, column, type_oid, *rest = field
    return name, min(table, FIRST_OWN_OID), column, min(type_oid, FIRST_OWN_OID), rest


def values(body):
    at, found = 2, []
    while at < len(body):
        length = struct.unpack(">i", body[at : at + 4])[0]
        at += 4
        found.append(None if length < 0 else body[at : at + length])
        at += max(length, 0)
    return found


def numberless(value):
    """Without the number of the session in the name of its temporary schema."""
    return re.sub(rb"(pg_(toast_)?temp)_\d+", rb"\1", value or b"")


def is_number(value):
    return value is not None and value.isdigit()


def is_own_oid(value):
    return is_number(value) and int(value) >= FIRST_OWN_OID


def in_order(messages):
    """With the rows of each result sorted: nothing promises an order that the statement does not ask for."""
    groups = itertools.groupby(messages, key=lambda whole: whole[0] == b"D")
    return [whole for are_rows, group in groups for whole in (sorted(group) if are_rows else group)]


def is_of_today(value):
    """Whether it is a time that the server has just read, in PostgreSQL's style or ISO's."""
    now = datetime.datetime.now(datetime.timezone.utc)
    days = [now - datetime.timedelta(hours=hours) for hours in (0, 8)]
    return any(day.strftime(style).encode() in (value or b"") for day in days for style in ("%b %d", "%Y-%m-%d", "%m-%d-%Y"))


def shown(whole):
    tag, body = whole
    if tag in (b"E", b"N"):
        return f"{tag.decode()} {error_fields(body)}"
    if tag == b"T":
        return "T " + " | ".join(f"{field[0].decode(errors='replace')} {field[1:]}" for field in columns(body))
    if tag == b"D":
        return "D " + " | ".join("NULL" if v is None else v.decode(errors="replace") for v in values(body))
    return f"{tag.decode()} {body!r}"


# Temporary tables come last, and a schema that is called as the user is has no part in it.
PINNED = {b"search_path": b'"public", pg_temp', b"row_security": b"on"}

SSL, GSS, CANCEL = 80877103, 80877104, 80877102
# What no two servers agree on: their statistics of themselves, sizes while other tests write, and random numbers.
OF_THE_SERVER = re.compile(r"pg_stat_|wal_bytes|pg_table_size|\brandom\(\)")
# What psql asks for by `\d` and its like.
LISTING = re.compile(r"SELECT\b[^;]*\bFROM pg_catalog\.[^;]*;?\s*")
# Which session is the first to write is chance.
TRANSACTION_ID = re.compile(r"\b(txid_current|pg_current_xact_id)\(\)")
# A number, or all that stands between quotes.
WORDS = rb"\b\d{3,10}\b|(?<=')[^']{10,40}(?=')"
FOUR_BYTES = b"\0\0\0\4"
# Fails on any server, and in any state.
FAILS = [(b"Q", b"refused by the gateway\0")]
