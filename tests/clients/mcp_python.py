"""The MCP door by the Python SDK, in both eras of the protocol, over HTTP and by the relay.

Reads a gateway's ready line (`portcullis demo --json`) from the file named by its first argument; its second one is the
program that relays. Prints one line a check, and exits with 1 if any failed.
"""

import asyncio
import json
import sys
import traceback
import urllib.request

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

READY = json.load(open(sys.argv[1]))
PROGRAM = sys.argv[2]
URL = f"http://{READY['mcp']}/mcp"
TOOLS = {"approval_status", "check_sql", "execute", "my_access", "query", "run_approved", "search_schema"}


def by_http(token, mode):
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False)
    return Client(streamable_http_client(URL, http_client=http), mode=mode)


def by_relay(token, mode):
    arguments = ["mcp", "--url", URL]
    return Client(StdioServerParameters(command=PROGRAM, args=arguments, env={"PORTCULLIS_TOKEN": token}), mode=mode)


async def decide(approval_id, vote, note):
    """Decides as priya, by the console's API."""
    request = urllib.request.Request(
        f"http://{READY['console']}/api/v1/approvals/{approval_id}/{vote}",
        data=json.dumps({"note": note}).encode(),
        headers={"Authorization": f"Bearer {READY['secrets']['priya']}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with await asyncio.to_thread(opener.open, request) as answer:
        assert answer.status == 200, answer.status


async def call(client, tool, **arguments):
    """The structured answer, which the SDK has held against the tool's schema, and whether it counts as an error."""
    result = await client.call_tool(tool, arguments)
    assert result.structured_content, result
    return result.structured_content, bool(result.is_error)


async def lists_tools(client, _):
    tools = (await client.list_tools()).tools
    assert TOOLS <= {tool.name for tool in tools}, tools
    assert all(tool.output_schema and tool.annotations for tool in tools), tools


async def my_access(client, _):
    answer, failed = await call(client, "my_access")
    assert not failed and answer["status"] == "ok" and answer["identity"]["name"] == "support-bot", answer


async def reads_masked(client, _):
    answer, failed = await call(client, "query", sql="SELECT id, ssn FROM customers WHERE id = $1", params=[1])
    assert not failed and answer["rows"] == [[1, "***-**-****"]], answer
    assert [column["masked"] for column in answer["columns"]] == [False, True], answer


async def is_denied(client, _):
    answer, failed = await call(client, "query", sql="SELECT * FROM hr.payroll")
    assert failed and answer["status"] == "denied" and answer["denial"]["hint"], answer


async def a_wrong_argument_is_named(client, _):
    answer, failed = await call(client, "query", sql="SELECT 1", max_rows=0)
    assert failed and answer["status"] == "error" and "max_rows" in answer["error"]["message"], answer


def update(order):
    return f"UPDATE orders SET status = 'cancelled' WHERE id = {order}"


async def held_and_run_once(client, order):
    held, failed = await call(client, "execute", sql=update(order), reason="the customer called", wait_s=0)
    assert not failed and held["status"] == "pending_approval", held
    again, _ = await call(client, "execute", sql=update(order), reason="the customer called", wait_s=0)
    assert again["approval_id"] == held["approval_id"], again
    await decide(held["approval_id"], "approve", "fine")
    standing, _ = await call(client, "approval_status", approval_id=held["approval_id"], wait_s=10)
    assert standing["approval"]["state"] == "approved", standing
    ran, failed = await call(client, "run_approved", approval_id=held["approval_id"])
    assert not failed and ran["status"] == "ok" and ran["rows_affected"] == 1, ran
    twice, _ = await call(client, "run_approved", approval_id=held["approval_id"])
    assert twice["status"] == "ok" and twice["repeated"], twice


async def approved_while_it_waits(client, order):
    approval = asyncio.get_running_loop().create_future()

    async def progress(_done, _total, message):
        if message and "approval " in message and not approval.done():
            approval.set_result(message.split("approval ")[1].split()[0].rstrip("."))

    arguments = {"sql": update(order + 1), "reason": "the customer called", "wait_s": 45}
    calling = asyncio.create_task(client.call_tool("execute", arguments, progress_callback=progress))
    await decide(await approval, "approve", "fine")
    answer = (await calling).structured_content
    assert answer["status"] == "ok" and answer["rows_affected"] == 1, answer


async def refused(client, order):
    held, _ = await call(client, "execute", sql=update(order + 2), reason="no reason", wait_s=0)
    await decide(held["approval_id"], "deny", "not today")
    answer, failed = await call(client, "run_approved", approval_id=held["approval_id"])
    assert failed and answer["status"] == "denied" and "not today" in json.dumps(answer), answer


async def a_wrong_token_is_refused():
    try:
        async with by_http("pcl_wrong", "auto") as client:
            await client.list_tools()
    except BaseException as error:
        # The SDK keeps the status and the reason to itself.
        assert "error response" in "".join(traceback.format_exception(error)), error
    else:
        raise AssertionError("let in")


CHECKS = [lists_tools, my_access, reads_masked, is_denied, a_wrong_argument_is_named]
CHECKS += [held_and_run_once, approved_while_it_waits, refused]


async def main():
    failures = 0

    async def note(name, check):
        nonlocal failures
        try:
            await asyncio.wait_for(check, 60)
            print(f"ok      python_{name}")
        except BaseException:
            failures += 1
            print(f"FAILED  python_{name}")
            traceback.print_exc()

    token, order = READY["secrets"]["support-bot"], 3000
    for way in (by_http, by_relay):
        for mode in ("auto", "legacy"):
            async with way(token, mode) as client:
                for check in CHECKS:
                    await note(f"{way.__name__}_{mode}_{check.__name__}", check(client, order))
            order += 10
    await note("a_wrong_token_is_refused", a_wrong_token_is_refused())
    return 1 if failures else 0


sys.exit(asyncio.run(main()))
