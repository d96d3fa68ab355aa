//! What is sent: every message, in orders that clients use and in orders that none should.

use bytes::BufMut as _;

use crate::wire_sim::rig::{bind, close, describe, execute, message, parse, query, run, sync};

/// A name, and all that is sent after the start-up. A Terminate ends it.
pub(super) type Script = (&'static str, Vec<u8>);

/// What the scripts find in the database.
pub(super) const SCHEMA: &str = "
    CREATE TABLE items (id int PRIMARY KEY, name text, price numeric);
    INSERT INTO items SELECT n, 'item ' || n, n * 1.5 FROM generate_series(1, 20) n;
    CREATE TABLE inbox (id int, name text);
    CREATE FUNCTION tell() RETURNS int LANGUAGE plpgsql AS $$
      BEGIN RAISE NOTICE 'seen % rows', 3 USING DETAIL = 'a detail', HINT = 'a hint'; RETURN 7; END $$;
    CREATE FUNCTION opened() RETURNS refcursor LANGUAGE plpgsql AS $$
      DECLARE c refcursor := 'found'; BEGIN OPEN c FOR SELECT id FROM items ORDER BY id; RETURN c; END $$;
    CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; COMMIT; PERFORM 2; END $$;
    ";

/// Everything.
pub(super) fn all() -> Vec<Script> {
    [simple(), blocks(), extended(), failing(), parameters(), names(), cursors(), copies_out(), copies_in()].into_iter().chain([settings(), asynchronous(), calls(), sizes(), broken()]).flatten().collect()
}

fn simple() -> Vec<Script> {
    vec![
        ("nothing at all", queries(&["", ";", " ; ; ", "-- nothing", "/* nothing */"])),
        ("several at once", queries(&["select 1; select 'a', null; show server_version"])),
        ("an error among several", queries(&["select 1; select 1/0; select 2", "select 3"])),
        ("a text that is no SQL", queries(&["selec 1", "select 1; selec 2", "select 'open", "select 3"])),
        ("what does not exist", queries(&["select * from nowhere", "select nothing from items", "select f(1)"])),
        ("no columns, no rows", queries(&["select", "select from items limit 2", "select 1 where false"])),
        ("writes", queries(&["begin; insert into inbox values (1, 'a') returning *", "update inbox set id = 2", "rollback"])),
        ("definitions", queries(&["begin; create table made (id int primary key); drop table made; rollback"])),
        ("types", queries(&["select 1::int2, 1.5::numeric, '{1,2}'::int[], '\\x00ff'::bytea, '1 day'::interval, row(1, 'a')"])),
        ("a plan", queries(&["explain (costs off) select * from items where id = 1"])),
        ("a block of code", queries(&["do $$ begin raise warning 'careful'; end $$", "call twice()", "begin; call twice()", "rollback"])),
        ("what may not be in a block", queries(&["begin; vacuum items", "rollback", "select 1; vacuum items"])),
    ]
}

fn blocks() -> Vec<Script> {
    let failed = ["begin", "savepoint a", "select 1/0", "select 1", "rollback to a", "select 1", "release a", "commit"];
    vec![
        ("a block within one string", queries(&["begin; select 1; commit; select 2", "select 3"])),
        ("a block left open", queries(&["begin; select 1", "select 1/0", "select 2", "commit", "select 3"])),
        ("an error ends an implicit block only", queries(&["select 1; begin; select 2; select 1/0", "select 3", "rollback"])),
        ("savepoints", queries(&failed)),
        ("warnings about blocks", queries(&["commit", "rollback", "begin; begin", "end", "set local timezone to utc"])),
        ("isolation", queries(&["begin isolation level serializable read only deferrable", "show transaction_isolation", "end and chain", "abort"])),
        ("two phases", queries(&["begin; select 1; prepare transaction 'x'", "commit prepared 'x'", "rollback"])),
        ("a block by series", [run("begin"), run("select 1"), sync(), run("select 1/0"), sync(), run("select 2"), sync(), run("rollback"), sync()].concat()),
    ]
}

fn extended() -> Vec<Script> {
    let all = [parse("s", ROWS), describe(b'S', "s"), bind("p", "s"), describe(b'P', "p")].concat();
    let flush = flush();
    vec![
        ("everything at once", [all.clone(), execute("p", 0), sync()].concat()),
        ("nothing described", [run(ROWS), sync(), run("select 1"), run("select 2"), sync()].concat()),
        ("a portal in parts", [all.clone(), execute("p", 2), execute("p", 2), execute("p", 2), execute("p", 2), sync()].concat()),
        ("a portal over several series", [query("begin"), all.clone(), execute("p", 2), sync(), run("select 1"), execute("p", 1), sync(), close(b'P', "p"), sync(), execute("p", 0), sync(), query("commit")].concat()),
        ("a flush behind everything", [parse("s", ROWS), flush.clone(), bind("p", "s"), flush.clone(), describe(b'P', "p"), flush.clone(), execute("p", 2), flush.clone(), execute("p", 0), flush.clone(), sync(), sync()].concat()),
        ("flushed, and never synced", [all, execute("p", 0), flush].concat()),
        ("never synced nor flushed", run("select 1")),
        ("an empty statement", [run(""), describe(b'P', ""), describe(b'S', ""), sync()].concat()),
        ("no result", [run("set timezone to utc"), describe(b'P', ""), describe(b'S', ""), sync()].concat()),
        ("a series of many", [run("select 1"), run("begin"), run("select 2"), run("commit"), run("select 3"), sync()].concat()),
        ("series without waiting", [run("select 1"), sync(), run("select 2"), sync(), run("select 3"), sync(), query("select 4")].concat()),
        ("syncs alone", sync().repeat(10)),
        ("a query behind a series without a sync", [run("select 1"), query("select 2"), run("select 3"), sync()].concat()),
        ("a statement bound often", [parse("s", "select 1"), bind("", "s"), execute("", 0), bind("", "s"), execute("", 0), sync(), bind("", "s"), describe(b'P', ""), execute("", 0), sync()].concat()),
        ("a negative number of rows", [parse("", ROWS), bind("", ""), execute("", u32::MAX), sync()].concat()),
        ("a portal that has ended", [run(ROWS), execute("", 0), execute("", 1), sync()].concat()),
        ("an insert in parts", [query("begin"), parse("", "insert into inbox values (1), (2), (3) returning id"), bind("", ""), execute("", 1), execute("", 1), execute("", 0), sync(), query("rollback")].concat()),
    ]
}

fn failing() -> Vec<Script> {
    let lost = [run("select 1/0"), run("select 1"), query("select 2"), flush(), close(b'S', ""), sync()].concat();
    vec![
        ("a statement that fails", [run("select 1"), run("select 1/0"), run("select 2"), sync()].concat()),
        ("a row that fails", [run("select 1/(3 - n) from generate_series(1, 5) n"), sync()].concat()),
        ("what is skipped", [lost, query("select 3")].concat()),
        ("a parse that fails", [run("select 1"), run("selec 1"), run("select 2"), sync(), run("select 3"), sync()].concat()),
        ("a parse that fails takes the unnamed statement", [parse("", "select 1"), sync(), parse("", "selec"), sync(), bind("", ""), sync()].concat()),
        ("two statements in a parse", [run("select 1; select 2"), sync(), run("select 3"), sync()].concat()),
        ("a series that fails between others", [run("select 1"), sync(), run("select 1/0"), sync(), run("select 3"), sync()].concat()),
        ("settings that roll back", [run("set timezone to 'Asia/Tokyo'"), run("select 1/0"), sync(), query("show timezone")].concat()),
        ("a commit that fails", [query("create temp table c (id int unique deferrable initially deferred)"), query("begin; insert into c values (1), (1)"), query("commit"), run("insert into c values (1), (1)"), sync(), query("select count(*) from c")].concat()),
        ("a time limit", queries(&["set statement_timeout to 20", "select pg_sleep(10)", "reset statement_timeout", "select 1"])),
    ]
}

fn parameters() -> Vec<Script> {
    let typed = |sql: &str, types: &[u32]| {
        message(b'P', |body| {
            body.put_slice(b"\0");
            body.put_slice(sql.as_bytes());
            body.put_u8(0);
            body.put_u16(u16::try_from(types.len()).unwrap());
            types.iter().for_each(|oid| body.put_u32(*oid));
        })
    };
    let given = |formats: &[i16], values: &[Option<&[u8]>], results: &[i16]| {
        let mut bytes = values_bound(formats, values, results);
        bytes.extend(execute("", 0));
        bytes.extend(sync());
        bytes
    };
    let sum = "select $1::int + $2::int, $1::text";
    vec![
        ("texts", [parse("", sum), given(&[], &[Some(b"1"), Some(b"2")], &[])].concat()),
        ("binary values and results", [parse("", sum), given(&[1], &[Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 2])], &[1])].concat()),
        ("one of each", [parse("", sum), given(&[0, 1], &[Some(b"1"), Some(&[0, 0, 0, 2])], &[1, 0])].concat()),
        ("nulls and empty texts", [parse("", "select $1::text is null, $2::text"), given(&[], &[None, Some(b"")], &[])].concat()),
        ("types given", [typed("select $1, $2", &[23, 0]), describe(b'S', ""), given(&[], &[Some(b"1"), Some(b"x")], &[])].concat()),
        ("a type that there is not", [typed("select $1", &[999_999]), sync()].concat()),
        ("too few values", [parse("", sum), given(&[], &[Some(b"1")], &[])].concat()),
        ("too many values", [parse("", "select 1"), given(&[], &[Some(b"1")], &[])].concat()),
        ("too many formats", [parse("", sum), given(&[0, 0, 0], &[Some(b"1"), Some(b"2")], &[])].concat()),
        ("too many result formats", [parse("", "select 1"), given(&[], &[], &[0, 0])].concat()),
        ("a format that there is not", [parse("", "select $1::int"), given(&[7], &[Some(b"1")], &[])].concat()),
        ("a value of the wrong length", [parse("", "select $1::int"), given(&[1], &[Some(&[1, 2])], &[])].concat()),
        ("a value that is none", [parse("", "select $1::int"), given(&[], &[Some(b"x")], &[])].concat()),
        ("a parameter of unknown type", [parse("", "select $1"), describe(b'S', ""), given(&[], &[Some(b"x")], &[])].concat()),
    ]
}

fn names() -> Vec<Script> {
    let each = |messages: &[Vec<u8>]| messages.iter().flat_map(|one| [one.clone(), sync()].concat()).collect();
    let unknown = [bind("", "x"), execute("x", 0), describe(b'S', "x"), describe(b'P', "x"), close(b'S', "x"), close(b'P', "x"), execute("", 0), bind("", "")];
    vec![
        ("names that nobody has given", each(&unknown)),
        ("a name that is taken", each(&[parse("s", "select 1"), parse("s", "select 2"), [bind("", "s"), execute("", 0)].concat(), close(b'S', "s"), [parse("s", "select 2"), bind("", "s"), execute("", 0)].concat()])),
        ("a portal that is taken", [query("begin"), parse("s", "select 1"), bind("p", "s"), bind("p", "s"), sync(), query("rollback")].concat()),
        ("a portal outlives its statement", [query("begin"), parse("s", "select 1"), bind("p", "s"), close(b'S', "s"), parse("s", "select 2"), execute("p", 0), sync(), query("commit")].concat()),
        ("prepared by SQL, bound by message", [query("prepare s as select $1::int"), describe(b'S', "s"), values_named("", "s", b"5"), execute("", 0), sync(), query("deallocate s"), bind("", "s"), sync()].concat()),
        ("prepared by message, executed by SQL", [parse("s", "select $1::int + 1"), sync(), query("execute s(41)"), query("explain (costs off) execute s(1)"), query("deallocate s"), query("execute s(1)")].concat()),
        ("prepared and executed in one string", queries(&["prepare a as select 1; execute a; deallocate a; execute a", "prepare b as select 2", "execute b", "deallocate all", "execute b"])),
        ("a prepared statement survives a rollback", queries(&["begin; prepare s as select 1; rollback", "execute s", "begin; deallocate s; rollback", "execute s"])),
        ("names after DISCARD", [parse("s", "select 1"), sync(), query("discard all"), bind("", "s"), sync(), parse("s", "select 2"), bind("", "s"), execute("", 0), sync()].concat()),
        ("a query takes the unnamed statement", [parse("", "select 1"), sync(), query("select 2"), bind("", ""), execute("", 0), sync()].concat()),
        ("a result that changes its shape", [query("create temp table shape (a int)"), parse("s", "select * from shape"), bind("", "s"), execute("", 0), sync(), query("alter table shape add b int"), bind("", "s"), execute("", 0), sync()].concat()),
    ]
}

fn cursors() -> Vec<Script> {
    let cursor = "declare c scroll cursor for select id from items order by id";
    let held = "declare h cursor with hold for select id from items order by id";
    vec![
        ("a cursor", queries(&["begin", cursor, "fetch 2 from c", "move 3 in c", "fetch prior from c", "close c", "fetch c", "rollback"])),
        ("a cursor over a commit", queries(&["begin", held, "commit", "fetch 2 from h", "close h", "fetch h", "close all"])),
        ("a cursor is a portal", [query("begin"), query(cursor), describe(b'P', "c"), execute("c", 2), sync(), execute("c", 1), close(b'P', "c"), sync(), execute("c", 1), sync(), query("rollback")].concat()),
        ("a portal is a cursor", [query("begin"), parse("s", ROWS), bind("p", "s"), sync(), query("fetch 2 from p"), execute("p", 1), sync(), query("close p"), query("rollback")].concat()),
        ("a cursor that a function opened", [query("begin"), query("select opened()"), query("fetch 2 from found"), describe(b'P', "found"), execute("found", 2), sync(), query("commit")].concat()),
        ("a cursor without a block", queries(&[cursor, "select 1"])),
    ]
}

fn copies_out() -> Vec<Script> {
    vec![
        ("copy out", queries(&["copy items to stdout", "copy items (name) to stdout csv header", "copy (select 1 where false) to stdout"])),
        ("copy out in binary", queries(&["copy (select id, name from items) to stdout (format binary)"])),
        ("copy out among others", queries(&["select 1; copy (select 1) to stdout; select 2"])),
        ("copy out in a series", [run("copy (select 1) to stdout"), run("select 1"), sync()].concat()),
        ("copy out described", [parse("", "copy items to stdout"), describe(b'S', ""), bind("", ""), describe(b'P', ""), execute("", 3), sync()].concat()),
        ("a copy out that fails", queries(&["copy (select 1/(3 - n) from generate_series(1, 5) n) to stdout", "select 1"])),
    ]
}

fn copies_in() -> Vec<Script> {
    let begin = query("begin; truncate inbox");
    let end = [query("select * from inbox order by id"), query("rollback")].concat();
    let around = |parts: &[Vec<u8>]| [begin.clone(), parts.concat(), end.clone()].concat();
    let fill = query("copy inbox from stdin");
    vec![
        ("copy in", around(&[fill.clone(), data(b"1\tone\n2\t"), data(b"two\n"), done()])),
        ("copy in as csv", around(&[query("copy inbox from stdin csv header"), data(b"id,name\n1,\"a,b\"\n"), done()])),
        ("copy in as binary", around(&[query("copy inbox from stdin (format binary)"), data(BINARY), done()])),
        ("copy in of nothing", around(&[fill.clone(), done()])),
        ("copy in that the client fails", [fill.clone(), data(b"1\tone\n"), fail("no more"), query("select count(*) from inbox")].concat()),
        ("copy in with a bad row", [fill.clone(), data(b"x\tone\n"), data(b"2\ttwo\n"), done(), query("select count(*) from inbox")].concat()),
        ("copy in with a bad row, failed on top", [fill.clone(), data(b"x\n"), data(b"y\n"), fail("why"), query("select 1")].concat()),
        ("copy in among others", around(&[query("select 1; copy inbox from stdin; select 2"), data(b"1\tone\n"), done()])),
        ("two copies in one string", around(&[query("copy inbox from stdin; copy inbox from stdin"), data(b"1\ta\n"), done(), data(b"2\tb\n"), done()])),
        ("copy in by a series", around(&[run("copy inbox from stdin"), data(b"1\tone\n"), done(), sync()])),
        ("copy in by a series, synced and flushed within", around(&[run("copy inbox from stdin"), sync(), flush(), data(b"1\tone\n"), sync(), done(), sync()])),
        ("copy in by a series with a bad row", [run("copy inbox from stdin"), data(b"x\n"), data(b"1\tone\n"), done(), sync(), run("select 1"), sync()].concat()),
        ("copy in by a series that the client fails", [run("copy inbox from stdin"), data(b"1\tone\n"), fail("enough"), run("select 1"), sync(), query("select 2")].concat()),
        ("copy data that nobody asked for", [data(b"1\n"), done(), fail("x"), sync(), query("select 1")].concat()),
        ("a copy that breaks off", [fill, data(b"1\tone\n")].concat()),
    ]
}

fn settings() -> Vec<Script> {
    vec![
        ("settings that are reported", queries(&["set datestyle to 'SQL, DMY'", "select date '2026-01-02'", "set timezone to 'Asia/Tokyo'", "set application_name to 'x'", "reset all"])),
        ("another encoding", [query("set client_encoding to latin1"), query("select chr(228)"), raw_query(b"select '\xe4'"), raw_query(b"select '\xe4' || 'b'; select 2"), query("reset client_encoding"), query("select chr(228)")].concat()),
        ("backslashes in plain strings", queries(&["set standard_conforming_strings to off", "select 'a\\'b; select 2'", "select 'x\\\\'", "reset standard_conforming_strings", "select 'a\\'"])),
        ("roles", queries(&["set role pg_monitor", "select current_user", "reset role", "set session authorization default"])),
        ("a search path", queries(&["set search_path to pg_catalog", "select * from items", "reset search_path", "select count(*) from items"])),
        ("settings by function", queries(&["select set_config('datestyle', 'German', false)", "select date '2026-01-02'"])),
        ("settings that there are not", queries(&["set nothing to 1", "show nothing", "set a.b to 1", "show a.b", "show timezone"])),
        ("bytes that are no text", [raw_query(b"select '\xff'"), raw_query(b"select 1 -- \xc3"), query("select 1")].concat()),
    ]
}

fn asynchronous() -> Vec<Script> {
    vec![
        ("notices", [query("select tell()"), run("select tell()"), sync(), query("set client_min_messages to error; select tell()")].concat()),
        ("notifications", queries(&["listen here", "notify here, 'hello'", "begin; notify here; notify there; commit", "unlisten *", "notify here", "select pg_notify('x', 'y')"])),
        ("notifications in a series", [run("listen here"), run("notify here, 'one'"), sync(), run("select 1"), sync()].concat()),
        ("the end by the administrator", queries(&["select pg_terminate_backend(pg_backend_pid())", "select 1"])),
        ("the end by the client at once", Vec::new()),
    ]
}

fn calls() -> Vec<Script> {
    // int4pl, and a function that there is not.
    let [sum, none] = [177, 999_999];
    let call = |oid: u32, formats: &[i16], values: &[Option<&[u8]>], result: i16| {
        message(b'F', |body| {
            body.put_u32(oid);
            put_values(body, formats, values);
            body.put_i16(result);
        })
    };
    vec![
        ("a function by its OID", [call(sum, &[], &[Some(b"1"), Some(b"2")], 0), call(sum, &[1], &[Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 2])], 1), query("select 1")].concat()),
        ("a function called with NULL", call(sum, &[], &[None, Some(b"2")], 0)),
        ("a function that there is not", [call(none, &[], &[], 0), query("select 1")].concat()),
        ("a function with too few values", [call(sum, &[], &[Some(b"1")], 0), query("select 1")].concat()),
        ("a function in a failed block", [query("begin; select 1/0"), call(sum, &[], &[Some(b"1"), Some(b"2")], 0), query("rollback")].concat()),
        ("a function within a series", [run("select 1"), call(sum, &[], &[Some(b"1"), Some(b"2")], 0), sync()].concat()),
    ]
}

fn sizes() -> Vec<Script> {
    let long = format!("select length('{}')", "x".repeat(300_000));
    let columns = (0..1_500).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    vec![
        ("many rows", queries(&["select n, md5(n::text) from generate_series(1, 20000) n", "select 1"])),
        ("large rows", [query("select repeat('x', 3000000), n from generate_series(1, 3) n"), run("select repeat('y', 1000000)"), sync()].concat()),
        ("many columns", queries(&[&format!("select {columns}")])),
        ("a long text", [query(&long), run(&long), sync()].concat()),
        ("a large value", [parse("", "select length($1)"), values_bound(&[], &[Some(&[b'v'; 1_000_000])], &[]), execute("", 0), sync()].concat()),
        ("a large copy", [query("begin"), query("copy inbox from stdin"), data(&b"1\tname\n".repeat(50_000)), done(), query("select count(*) from inbox"), query("copy inbox to stdout"), query("rollback")].concat()),
        ("a deep nest", queries(&[&format!("select {}1{}", "(".repeat(300), ")".repeat(300)), &format!("select {}", "+".repeat(5000))])),
        ("many series", [run("select 1"), sync()].concat().repeat(300)),
        ("a long series", [run("select 1").repeat(400), sync()].concat()),
    ]
}

fn broken() -> Vec<Script> {
    vec![
        ("a query without its end", [message(b'Q', |body| body.put_slice(b"select 1")), query("select 2")].concat()),
        ("a query with more behind its end", [message(b'Q', |body| body.put_slice(b"select 1\0select 2\0")), query("select 3")].concat()),
        ("a parse that is cut", [message(b'P', |body| body.put_slice(b"s\0select 1\0\0")), sync(), query("select 1")].concat()),
        ("a bind that is cut", [parse("", "select 1"), message(b'B', |body| body.put_slice(b"\0\0\0")), sync(), query("select 1")].concat()),
        ("a bind with a value of length -2", [parse("", "select $1::text"), message(b'B', |body| body.put_slice(b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0")), sync(), query("select 1")].concat()),
        ("a describe of neither", [message(b'D', |body| body.put_slice(b"Xname\0")), sync(), query("select 1")].concat()),
        ("a close of neither", [message(b'C', |body| body.put_slice(b"Xname\0")), sync(), query("select 1")].concat()),
        ("a sync with a body", [message(b'S', |body| body.put_slice(b"x")), query("select 1")].concat()),
        ("a type that there is not", [query("select 1"), message(b'!', |_| {})].concat()),
        ("a password that nobody asked for", [message(b'p', |body| body.put_slice(b"x\0")), query("select 1")].concat()),
    ]
}

fn queries(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| query(text)).collect()
}

fn raw_query(text: &[u8]) -> Vec<u8> {
    message(b'Q', |body| {
        body.put_slice(text);
        body.put_u8(0);
    })
}

fn flush() -> Vec<u8> {
    message(b'H', |_| {})
}

fn data(bytes: &[u8]) -> Vec<u8> {
    message(b'd', |body| body.put_slice(bytes))
}

fn done() -> Vec<u8> {
    message(b'c', |_| {})
}

fn fail(why: &str) -> Vec<u8> {
    message(b'f', |body| {
        body.put_slice(why.as_bytes());
        body.put_u8(0);
    })
}

fn values_bound(formats: &[i16], values: &[Option<&[u8]>], results: &[i16]) -> Vec<u8> {
    message(b'B', |body| {
        body.put_slice(b"\0\0");
        put_values(body, formats, values);
        body.put_u16(u16::try_from(results.len()).unwrap());
        results.iter().for_each(|format| body.put_i16(*format));
    })
}

fn values_named(portal: &str, statement: &str, value: &[u8]) -> Vec<u8> {
    message(b'B', |body| {
        for name in [portal, statement] {
            body.put_slice(name.as_bytes());
            body.put_u8(0);
        }
        put_values(body, &[], &[Some(value)]);
        body.put_u16(0);
    })
}

fn put_values(body: &mut bytes::BytesMut, formats: &[i16], values: &[Option<&[u8]>]) {
    body.put_u16(u16::try_from(formats.len()).unwrap());
    formats.iter().for_each(|format| body.put_i16(*format));
    body.put_u16(u16::try_from(values.len()).unwrap());
    for value in values {
        match value {
            None => body.put_i32(-1),
            Some(value) => {
                body.put_i32(i32::try_from(value.len()).unwrap());
                body.put_slice(value);
            }
        }
    }
}

const ROWS: &str = "select id, name, price from items where id < 6 order by id";

/// One row, (1, NULL), as PostgreSQL's binary COPY format has it.
const BINARY: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\0\x01\xff\xff\xff\xff\xff\xff";
