// The MCP door by one of the TypeScript SDKs: `v1`, `v2` (its default, initialize) or `v2-modern`, over HTTP and by the
// relay.
//
// Reads a gateway's ready line (`portcullis demo --json`) from the file named by its first argument; the second one is
// the SDK, the third the program that relays. Prints one line a check, and exits with 1 if any failed. The modules are
// looked up where it is started.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [file, sdk, program] = process.argv.slice(2);
const ready = JSON.parse(readFileSync(file, "utf8"));
const url = `http://${ready.mcp}/mcp`;
const TOOLS = ["approval_status", "check_sql", "execute", "my_access", "query", "run_approved", "search_schema"];

const modules = createRequire(join(process.cwd(), "smoke.mjs"));
const load = (name) => import(pathToFileURL(modules.resolve(name)));

/** The SDK's client and its two transports. */
async function parts() {
  if (sdk === "v1") {
    const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const { StdioClientTransport } = await load("@modelcontextprotocol/sdk/client/stdio.js");
    return { Client, StreamableHTTPClientTransport, StdioClientTransport, options: {} };
  }
  const { Client, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");
  const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");
  const options = sdk === "v2-modern" ? { versionNegotiation: { mode: "auto" } } : {};
  return { Client, StreamableHTTPClientTransport, StdioClientTransport, options };
}

const { Client, StreamableHTTPClientTransport, StdioClientTransport, options } = await parts();

const ways = {
  http: (token) => new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } }),
  relay: (token) => new StdioClientTransport({ command: program, args: ["mcp", "--url", url], env: { PORTCULLIS_TOKEN: token } }),
};

async function connect(way, token) {
  const client = new Client({ name: "smoke", version: "1" }, options);
  await client.connect(ways[way](token));
  return client;
}

/** Decides as priya, by the console's API. */
async function decide(id, vote, note) {
  const headers = { Authorization: `Bearer ${ready.secrets.priya}`, "Content-Type": "application/json" };
  const address = `http://${ready.console}/api/v1/approvals/${id}/${vote}`;
  const answer = await fetch(address, { method: "POST", headers, body: JSON.stringify({ note }) });
  assert.equal(answer.status, 200, await answer.text());
}

/** Calls a tool; the SDK holds the answer against the tool's schema. */
async function call(client, name, args = {}, more = {}) {
  const parameters = { name, arguments: args };
  const result = sdk === "v1" ? await client.callTool(parameters, undefined, more) : await client.callTool(parameters, more);
  assert.ok(result.structuredContent, JSON.stringify(result));
  return { ...result.structuredContent, failed: result.isError === true };
}

const update = (order) => `UPDATE orders SET status = 'cancelled' WHERE id = ${order}`;

const checks = {
  lists_tools: async (client) => {
    const { tools } = await client.listTools();
    const names = tools.map(({ name }) => name);
    for (const tool of TOOLS) assert.ok(names.includes(tool), tool);
    assert.ok(tools.every(({ outputSchema, annotations }) => outputSchema && annotations));
  },

  my_access: async (client) => {
    const answer = await call(client, "my_access");
    assert.deepEqual([answer.status, answer.identity.name, answer.failed], ["ok", "support-bot", false]);
  },

  reads_masked: async (client) => {
    const answer = await call(client, "query", { sql: "SELECT id, ssn FROM customers WHERE id = $1", params: [1] });
    assert.deepEqual(answer.rows, [[1, "***-**-****"]]);
    assert.deepEqual(answer.columns.map(({ masked }) => masked), [false, true]);
  },

  is_denied: async (client) => {
    const answer = await call(client, "query", { sql: "SELECT * FROM hr.payroll" });
    assert.deepEqual([answer.status, answer.failed], ["denied", true]);
    assert.ok(answer.denial.hint);
  },

  a_wrong_argument_is_named: async (client) => {
    const answer = await call(client, "query", { sql: "SELECT 1", max_rows: 0 });
    assert.deepEqual([answer.status, answer.failed], ["error", true]);
    assert.match(answer.error.message, /max_rows/);
  },

  held_and_run_once: async (client, order) => {
    const write = { sql: update(order), reason: "the customer called", wait_s: 0 };
    const held = await call(client, "execute", write);
    assert.deepEqual([held.status, held.failed], ["pending_approval", false]);
    assert.equal((await call(client, "execute", write)).approval_id, held.approval_id);
    await decide(held.approval_id, "approve", "fine");
    const standing = await call(client, "approval_status", { approval_id: held.approval_id, wait_s: 10 });
    assert.equal(standing.approval.state, "approved");
    const ran = await call(client, "run_approved", { approval_id: held.approval_id });
    assert.deepEqual([ran.status, ran.rows_affected], ["ok", 1]);
    const twice = await call(client, "run_approved", { approval_id: held.approval_id });
    assert.deepEqual([twice.status, twice.repeated], ["ok", true]);
  },

  approved_while_it_waits: async (client, order) => {
    let found;
    const approval = new Promise((resolve) => (found = resolve));
    const onprogress = ({ message }) => {
      const id = /approval ([0-9a-f]{32})/.exec(message ?? "");
      if (id) found(id[1]);
    };
    const write = { sql: update(order + 1), reason: "the customer called", wait_s: 45 };
    const calling = call(client, "execute", write, { onprogress });
    await decide(await approval, "approve", "fine");
    const answer = await calling;
    assert.deepEqual([answer.status, answer.rows_affected], ["ok", 1]);
  },

  refused: async (client, order) => {
    const held = await call(client, "execute", { sql: update(order + 2), reason: "no reason", wait_s: 0 });
    await decide(held.approval_id, "deny", "not today");
    const answer = await call(client, "run_approved", { approval_id: held.approval_id });
    assert.deepEqual([answer.status, answer.failed], ["denied", true]);
    assert.match(JSON.stringify(answer), /not today/);
  },
};

let failures = 0;
async function note(name, check) {
  try {
    await check();
    console.log(`ok      ${sdk}_${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED  ${sdk}_${name}`);
    console.error(error);
  }
}

let order = { v1: 4000, v2: 5000, "v2-modern": 6000 }[sdk];
for (const way of Object.keys(ways)) {
  const client = await connect(way, ready.secrets["support-bot"]);
  for (const [name, check] of Object.entries(checks)) await note(`${way}_${name}`, () => check(client, order));
  await client.close();
  order += 10;
}
await note("a_wrong_token_is_refused", () => assert.rejects(connect("http", "pcl_wrong"), /401|[Uu]nauthori/));
process.exit(failures === 0 ? 0 : 1);
