"""Python's drivers at the wire door of a running demo: psycopg 3, psycopg2, asyncpg and SQLAlchemy.

Reads the demo's ready line (`portcullis demo --json`) from the file named by its only argument, prints one line a
check, and exits with 1 if any failed.
"""

import asyncio
import json
import sys
import threading
import time
import traceback

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import sqlalchemy

with open(sys.argv[1], encoding="utf-8") as ready:
    DEMO = json.load(ready)
HOST, PORT = DEMO["wire"].rsplit(":", 1)
MASK = "***-**-****"
CHECKS = []


def check(function):
    """Registers a check under its function's name."""
    CHECKS.append(function)
    return function


def parameters(who="dora"):
    return {"host": HOST, "port": int(PORT), "user": who, "password": DEMO["secrets"][who]}


def connect(who="dora", **more):
    return psycopg.connect(dbname="shop", **parameters(who), **more)


@check
def psycopg_parameters_as_text_and_binary():
    with connect() as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            row = cursor.execute("SELECT id, name, price FROM products WHERE id = %s", (7,)).fetchone()
            assert row[0] == 7, row
            row = cursor.execute("SELECT %s::int[], %s::jsonb, %s::text", ([1, 2], '{"a": 1}', None)).fetchone()
            assert row == ([1, 2], {"a": 1}, None), row
            row = cursor.execute("SELECT %b, %t", (5, 6)).fetchone()
            assert [int(value) for value in row] == [5, 6], row


@check
def psycopg_masks_for_ana():
    with connect("ana") as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            rows = cursor.execute("SELECT id, ssn FROM customers WHERE id < %s ORDER BY id", (4,)).fetchall()
            assert rows == [(1, MASK), (2, MASK), (3, MASK)], rows


@check
def psycopg_server_side_cursor():
    with connect("ana") as connection:
        with connection.cursor(name="walk") as cursor:
            cursor.itersize = 300
            cursor.execute("SELECT id, ssn FROM customers ORDER BY id")
            rows = list(cursor)
        assert len(rows) == 10_000 and {row[1] for row in rows} == {MASK}
        with connection.cursor(name="scroll", scrollable=True) as cursor:
            cursor.execute("SELECT id FROM products ORDER BY id")
            cursor.scroll(10)
            assert cursor.fetchone() == (11,)
            cursor.scroll(0, mode="absolute")
            assert cursor.fetchone() == (1,)


@check
def psycopg_pipeline():
    with connect() as connection:
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int", (n,)) for n in range(500)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(500))


@check
def psycopg_denial_in_a_pipeline():
    with connect("ana", autocommit=True) as connection:
        try:
            with connection.pipeline() as pipeline:
                first = connection.execute("SELECT 1")
                connection.execute("DROP TABLE customers")
                connection.execute("SELECT 2")
                pipeline.sync()
            raise AssertionError("the denial was not heard")
        except psycopg.errors.InsufficientPrivilege as denial:
            assert "DROP TABLE" in str(denial), denial
        assert first.fetchone() == (1,)
        assert connection.execute("SELECT 3").fetchone() == (3,)


@check
def psycopg_prepared_statements():
    with connect("ana") as connection:
        connection.prepare_threshold = 2
        connection.prepared_max = 2
        for turn in range(12):
            for width in range(3):
                row = connection.execute(f"SELECT ssn, %s + {width} FROM customers WHERE id = %s", (turn, 1)).fetchone()
                assert row == (MASK, turn + width), row
        connection.prepare_threshold = 0
        assert connection.execute("SELECT 1").fetchone() == (1,)


@check
def psycopg_copy_out_and_in():
    with connect("ana") as connection:
        with connection.cursor().copy("COPY (SELECT id, ssn FROM customers ORDER BY id LIMIT 3) TO STDOUT") as copy:
            rows = list(copy.rows())
        assert rows == [("1", MASK), ("2", MASK), ("3", MASK)], rows
    with connect() as connection:
        query = "COPY (SELECT id, name FROM products ORDER BY id) TO STDOUT (FORMAT binary)"
        with connection.cursor().copy(query) as copy:
            copy.set_types(["int4", "text"])
            assert len(list(copy.rows())) == 200
    # An approver can't see rows that come by COPY, so the rulebook that ships denies it.
    with connect(autocommit=True) as connection:
        try:
            with connection.cursor().copy("COPY tickets (id) FROM STDIN") as copy:
                copy.write_row((1,))
            raise AssertionError("a COPY into a table went through")
        except psycopg.errors.InsufficientPrivilege:
            pass
        assert connection.execute("SELECT count(*) FROM tickets").fetchone() == (2000,)


@check
def psycopg_transactions():
    with connect(autocommit=True) as connection:
        with connection.transaction():
            connection.execute("SET LOCAL statement_timeout = '7s'")
            try:
                with connection.transaction():
                    connection.execute("SELECT 1 / 0")
            except psycopg.errors.DivisionByZero:
                pass
            assert connection.execute("SHOW statement_timeout").fetchone() == ("7s",)
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
    with connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        connection.read_only = True
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
        connection.rollback()


@check
def psycopg_executemany():
    with connect() as connection:
        cursor = connection.cursor()
        cursor.executemany("SELECT %s::int * 2", [(n,) for n in range(50)], returning=True)
        doubled = [cursor.fetchone()[0]]
        while cursor.nextset():
            doubled.append(cursor.fetchone()[0])
        assert doubled == [n * 2 for n in range(50)]


@check
def psycopg_client_cursor():
    with connect("ana", cursor_factory=psycopg.ClientCursor) as connection:
        row = connection.execute("SELECT ssn, %s FROM customers WHERE id = %s", ("it's", 1)).fetchone()
        assert row == (MASK, "it's"), row
        cursor = connection.execute("SELECT 1; SELECT 2")
        assert cursor.fetchone() == (1,) and cursor.nextset() and cursor.fetchone() == (2,)


@check
def psycopg_async():
    async def walk():
        async with await psycopg.AsyncConnection.connect(dbname="shop", **parameters("ana")) as connection:
            cursor = await connection.execute("SELECT ssn FROM customers WHERE id = %s", (1,))
            assert await cursor.fetchone() == (MASK,)

    asyncio.run(walk())


@check
def psycopg_cancel():
    with connect(autocommit=True) as connection:
        threading.Timer(0.5, connection.cancel).start()
        begun = time.monotonic()
        try:
            connection.execute("SELECT pg_sleep(60)")
            raise AssertionError("not cancelled")
        except psycopg.errors.QueryCanceled:
            pass
        assert time.monotonic() - begun < 30
        assert connection.execute("SELECT 1").fetchone() == (1,)


@check
def psycopg_notice_of_a_hold_comes_at_once():
    with connect("ana", autocommit=True) as connection:
        notices = []

        def heard(notice):
            notices.append(notice.message_primary)
            connection.cancel()

        connection.add_notice_handler(heard)
        try:
            connection.execute("UPDATE tickets SET status = 'closed' WHERE id = 1")
            raise AssertionError("an unapproved UPDATE went through")
        except psycopg.errors.QueryCanceled:
            pass
        assert len(notices) == 1 and "approval" in notices[0], notices


@check
def psycopg_errors_have_postgresqls_codes():
    with connect("ana", autocommit=True) as connection:
        for sql, error in [
            ("SELEC 1", psycopg.errors.SyntaxError),
            ("SELECT * FROM nowhere", psycopg.errors.UndefinedTable),
            ("SELECT nothing FROM products", psycopg.errors.UndefinedColumn),
            ("SELECT nothing(1)", psycopg.errors.UndefinedFunction),
            ("DELETE FROM tickets", psycopg.errors.InsufficientPrivilege),
        ]:
            try:
                connection.execute(sql)
                raise AssertionError(f"{sql} went through")
            except error:
                pass


@check
def psycopg2_everyday_use():
    with psycopg2.connect(dbname="shop", **parameters("ana")) as connection:
        cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
        cursor.execute("SELECT id, ssn FROM customers WHERE id = %s", (1,))
        assert cursor.fetchone() == {"id": 1, "ssn": MASK}
        named = connection.cursor("walk")
        named.execute("SELECT id FROM products ORDER BY id")
        assert len(named.fetchall()) == 200
        named.close()
        connection.commit()
        connection.set_session(isolation_level="SERIALIZABLE", readonly=True)
        cursor.execute("SELECT 1 AS one")
        connection.rollback()
        connection.reset()
        connection.autocommit = True
        cursor.execute("SELECT %s AS many", ([1, 2],))
        assert cursor.fetchone() == {"many": [1, 2]}


@check
def asyncpg_everyday_use():
    async def walk():
        who = parameters("ana")
        connection = await asyncpg.connect(database="shop", **who)
        rows = await connection.fetch("SELECT id, ssn FROM customers WHERE id = ANY($1::int[]) ORDER BY id", [1, 2])
        assert [row["ssn"] for row in rows] == [MASK, MASK]
        statement = await connection.prepare("SELECT name, price FROM products WHERE id = $1")
        assert [attribute.name for attribute in statement.get_attributes()] == ["name", "price"]
        assert await statement.fetchval(1) != await statement.fetchval(2)
        async with connection.transaction(isolation="serializable", readonly=True):
            seen = [row["id"] async for row in connection.cursor("SELECT id FROM orders ORDER BY id LIMIT 500", prefetch=40)]
        assert seen == list(range(1, 501))
        # A composite and a domain make the driver read the catalog for how they are built.
        row = await connection.fetchrow("SELECT ROW(1, 'a') AS pair, 'x'::information_schema.sql_identifier AS name")
        assert row["name"] == "x", row
        await connection.copy_from_query("SELECT id, ssn FROM customers LIMIT 5", output="/dev/null", format="csv")
        try:
            await connection.fetch("SELECT pg_sleep(60)", timeout=0.5)
            raise AssertionError("not timed out")
        except asyncio.TimeoutError:
            pass
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()

    asyncio.run(walk())


@check
def asyncpg_pool():
    async def walk():
        async with asyncpg.create_pool(database="shop", min_size=1, max_size=1, **parameters("support-bot")) as pool:
            async with pool.acquire() as connection:
                path = await connection.fetchval("SHOW search_path")
                await connection.execute("SET timezone = 'Asia/Tokyo'")
            async with pool.acquire() as connection:
                assert await connection.fetchval("SHOW timezone") != "Asia/Tokyo"
                assert await connection.fetchval("SHOW search_path") == path
                assert await connection.fetchval("SHOW statement_timeout") == "5s"

    asyncio.run(walk())


@check
def sqlalchemy_reflection_and_use():
    for driver in ("psycopg", "psycopg2"):
        who = parameters("ana")
        url = sqlalchemy.URL.create(
            f"postgresql+{driver}", who["user"], who["password"], who["host"], who["port"], "shop"
        )
        engine = sqlalchemy.create_engine(url, pool_size=1)
        meta = sqlalchemy.MetaData()
        meta.reflect(engine, views=True)
        assert {"customers", "orders", "products", "tickets", "customer_overview"} <= set(meta.tables)
        orders = meta.tables["orders"]
        assert {key.column.table.name for key in orders.foreign_keys} == {"customers", "products"}
        inspector = sqlalchemy.inspect(engine)
        assert inspector.get_pk_constraint("orders")["constrained_columns"] == ["id"]
        assert inspector.get_check_constraints("orders") and inspector.get_indexes("orders")
        assert inspector.get_unique_constraints("customers") and inspector.get_table_comment("customers")
        assert "hr" in inspector.get_schema_names()
        with engine.connect() as connection:
            customers = meta.tables["customers"]
            query = sqlalchemy.select(customers.c.id, customers.c.ssn).where(customers.c.id.in_([1, 2]))
            rows = connection.execute(query.order_by(customers.c.id)).all()
            assert rows == [(1, MASK), (2, MASK)], rows
            streamed = connection.execution_options(yield_per=100).execute(sqlalchemy.select(orders.c.id).limit(500))
            assert len(streamed.all()) == 500
        engine.dispose()


def main():
    failures = 0
    for function in CHECKS:
        try:
            function()
            print(f"ok      {function.__name__}")
        except Exception:  # every check is tried
            failures += 1
            print(f"FAILED  {function.__name__}")
            traceback.print_exc()
    sys.exit(1 if failures else 0)


main()
