"""A model that plays a part: it calls the tools of a script, one a turn, whatever it is told.

It speaks so much of two APIs as Claude Code (Anthropic's Messages) and Codex (OpenAI's Responses) need, on a loopback
port, and keeps what a model would see of each tool's answer. Where the conversation stands it learns from the
conversation, so a client may ask twice.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Stub:
    """Serves `script`, a list of (tool, arguments), then says `last`. `{approval_id}` in an argument is the newest id seen."""

    def __init__(self, script, last="That is all."):
        self.script, self.last = script, last
        self.seen = []
        self.offered = {}
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
                path = self.path.split("?")[0]
                if path.endswith("/messages"):
                    self.stream(stub.messages(body)) if body.get("stream") else self.json(stub.plain_message())
                elif path.endswith("/responses"):
                    self.stream(stub.responses(body))
                elif path.endswith("/count_tokens"):
                    self.json({"input_tokens": 1})
                else:
                    self.json({"error": "no such thing"}, 404)

            def do_GET(self):
                self.json({"error": "no such thing"}, 404)

            def json(self, value, status=200):
                self.answer(status, "application/json", json.dumps(value).encode())

            def stream(self, events):
                lines = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
                self.answer(200, "text/event-stream", "".join(lines).encode())

            def answer(self, status, kind, body):
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()

    def turn(self, offered, answers):
        """The next tool call, as (name, arguments), or None at the end. `answers` are all tool answers so far."""
        self.offered.update(offered)
        self.seen = answers
        if len(answers) >= len(self.script):
            return None
        tool, arguments = self.script[len(answers)]
        name = next((name for name in offered if name.split("__")[-1] == tool), None)
        if name is None:
            return None
        ids = re.findall(r'"approval_id"\s*:\s*"([0-9a-f]{32})"', "\n".join(answers).replace('\\"', '"'))
        fill = lambda value: value.replace("{approval_id}", ids[-1] if ids else "") if isinstance(value, str) else value
        return name, {key: fill(value) for key, value in arguments.items()}

    # Anthropic's Messages API.

    def plain_message(self):
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "stub", "stop_reason": "end_turn",
                "stop_sequence": None, "content": [{"type": "text", "text": self.last}],
                "usage": {"input_tokens": 1, "output_tokens": 1}}

    def messages(self, body):
        offered = {tool["name"]: tool for tool in body.get("tools", [])}
        blocks = [block for message in body["messages"] if isinstance(message["content"], list) for block in message["content"]]
        answers = [text_of(block.get("content")) for block in blocks if block["type"] == "tool_result"]
        call = self.turn(offered, answers) if offered else None
        start = self.plain_message() | {"content": [], "stop_reason": None}
        yield {"type": "message_start", "message": start}
        if call:
            name, arguments = call
            block = {"type": "tool_use", "id": f"toolu_{len(answers)}", "name": name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        else:
            block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": self.last}
        yield {"type": "content_block_start", "index": 0, "content_block": block}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        stop = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        yield {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 1}}
        yield {"type": "message_stop"}

    # OpenAI's Responses API.

    def responses(self, body):
        offered, spaces = {}, {}
        for tool in body.get("tools", []):
            for inner in tool.get("tools", [tool]):
                if inner.get("name"):
                    offered[inner["name"]] = inner
                    spaces[inner["name"]] = tool["name"] if "tools" in tool else None
        answers = [text_of(item["output"]) for item in body["input"] if item.get("type") == "function_call_output"]
        call = self.turn(offered, answers)
        if call:
            name, arguments = call
            item = {"type": "function_call", "id": f"fc_{len(answers)}", "call_id": f"call_{len(answers)}", "name": name,
                    "arguments": json.dumps(arguments)}
            if spaces[name]:
                item["namespace"] = spaces[name]
        else:
            item = {"type": "message", "id": "msg_1", "role": "assistant",
                    "content": [{"type": "output_text", "text": self.last}]}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        yield {"type": "response.created", "response": {"id": "resp_1"}}
        yield {"type": "response.output_item.done", "output_index": 0, "item": item}
        yield {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}}


def text_of(content):
    """The text of a tool's answer, as the model gets it."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [])
