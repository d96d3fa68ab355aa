// node-postgres at the wire door of a running demo.
//
// Reads the demo's ready line (`portcullis demo --json`) from the file named by its only argument, prints one line
// a check, and exits with 1 if any failed. The modules are looked up where it is started.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const modules = createRequire(join(process.cwd(), "smoke.cjs"));
const pg = modules("pg");
const Cursor = modules("pg-cursor");
const QueryStream = modules("pg-query-stream");

const demo = JSON.parse(readFileSync(process.argv[2], "utf8"));
const [host, port] = demo.wire.split(":");
const MASK = "***-**-****";

const settings = (user) => ({ host, port: Number(port), user, password: demo.secrets[user], database: "shop" });

async function session(user, use) {
  const client = new pg.Client(settings(user));
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

const checks = {
  simple: () =>
    session("ana", async (client) => {
      const { rows, command } = await client.query("SELECT id, ssn FROM customers ORDER BY id LIMIT 2");
      assert.deepEqual(rows, [{ id: 1, ssn: MASK }, { id: 2, ssn: MASK }]);
      assert.equal(command, "SELECT");
      const many = await client.query("SELECT 1 AS one; SELECT 2 AS two");
      assert.deepEqual(many.map((result) => result.rows[0]), [{ one: 1 }, { two: 2 }]);
    }),

  parameterized: () =>
    session("ana", async (client) => {
      const { rows } = await client.query("SELECT ssn, $2::text AS own FROM customers WHERE id = $1", [1, "it's"]);
      assert.deepEqual(rows, [{ ssn: MASK, own: "it's" }]);
      const binary = await client.query({ text: "SELECT id FROM products WHERE id = $1", values: [3], binary: true });
      assert.deepEqual(binary.rows, [{ id: 3 }]);
      const lists = await client.query({ text: "SELECT id FROM products WHERE id = ANY($1) ORDER BY id", values: [[1, 2]], rowMode: "array" });
      assert.deepEqual(lists.rows, [[1], [2]]);
    }),

  named_prepared: () =>
    session("ana", async (client) => {
      for (let id = 1; id < 5; id++) {
        const query = { name: "by-id", text: "SELECT id, ssn FROM customers WHERE id = $1", values: [id] };
        assert.deepEqual((await client.query(query)).rows, [{ id, ssn: MASK }]);
      }
    }),

  many_at_once: () =>
    session("dora", async (client) => {
      const asked = Array.from({ length: 200 }, (_, n) => client.query("SELECT $1::int AS n", [n]));
      const heard = await Promise.all(asked);
      assert.deepEqual(heard.map(({ rows }) => rows[0].n), asked.map((_, n) => n));
    }),

  cursor: () =>
    session("ana", async (client) => {
      const cursor = client.query(new Cursor("SELECT id, ssn FROM customers WHERE id > $1 ORDER BY id", [10]));
      const first = await cursor.read(100);
      const second = await cursor.read(100);
      assert.deepEqual([first.length, second.length, second[0].id], [100, 100, 111]);
      assert.equal(second[99].ssn, MASK);
      await cursor.close();
      assert.equal((await client.query("SELECT 1 AS one")).rows[0].one, 1);
    }),

  query_stream: () =>
    session("ana", async (client) => {
      let rows = 0;
      for await (const row of client.query(new QueryStream("SELECT ssn FROM customers", [], { batchSize: 333 }))) {
        assert.equal(row.ssn, MASK);
        rows += 1;
      }
      assert.equal(rows, 10_000);
    }),

  pool: async () => {
    const pool = new pg.Pool({ ...settings("support-bot"), max: 4 });
    const heard = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query("SELECT $1::int AS n", [n])));
    assert.equal(heard.length, 40);
    await pool.end();
  },

  transaction_and_errors: () =>
    session("ana", async (client) => {
      await client.query("BEGIN");
      await assert.rejects(client.query("DROP TABLE customers"), (error) => error.code === "42501");
      await assert.rejects(client.query("SELECT 1"), (error) => error.code === "25P02");
      await client.query("ROLLBACK");
      await assert.rejects(client.query("SELECT nothing FROM products"), (error) => error.code === "42703");
      await assert.rejects(client.query("SELECT nothing FROM products WHERE id = $1", [1]), (error) => error.code === "42703");
      assert.equal((await client.query("SELECT 1 AS one")).rows[0].one, 1);
    }),

  notice_of_a_hold: () =>
    session("ana", async (client) => {
      const told = new Promise((resolve) => client.once("notice", resolve));
      const held = client.query("UPDATE tickets SET status = 'closed' WHERE id = $1", [1]);
      held.catch(() => {});
      const notice = await told;
      assert.match(notice.message, /waits for approval/);
      const canceller = new pg.Client(settings("ana"));
      canceller.cancel(client, client._getActiveQuery?.() ?? client.activeQuery);
      await assert.rejects(held, (error) => error.code === "57014");
    }),
};

let failures = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok      node_${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED  node_${name}`);
    console.error(error);
  }
}
process.exit(failures === 0 ? 0 : 1);
