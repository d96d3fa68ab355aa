package portcullis.reads_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents
import data.portcullis.statement.deny

rules(who, fields) := found if {
	found := {reason.rule | some reason in deny} with input as fixtures.ask(who, fields)
		with data.agents as agents
}

reading(schema, name, columns) := {"tables": [fixtures.table(schema, name, "read", {"columns_read": columns})]}

test_granted_columns if rules("bot", reading("public", "customers", ["id", "name"])) == set()

test_a_column_too_many if rules("bot", reading("public", "customers", ["id", "email"])) == {"read_columns"}

test_counting_needs_the_table_only if {
	rules("bot", reading("public", "customers", [])) == set()
	rules("bot", reading("hr", "payroll", [])) == {"read_scope"}
}

test_a_whole_schema if {
	rules("ana", reading("public", "anything", ["x"])) == set()
	rules("ana", reading("hr", "anything", ["x"])) == {"read_scope"}
}

test_another_database_is_another_scope if {
	elsewhere := object.union(fixtures.ask("ana", reading("public", "orders", ["id"])), {"database": "bank"})
	denied := {reason.rule | some reason in deny} with input as elsewhere
		with data.agents as agents
	denied == {"read_scope"}
}

test_a_view_covers_what_it_shows if {
	view := fixtures.table("public", "orders", "read", {})
	base := fixtures.table("hr", "payroll", "read", {"via_view": "public.orders", "columns_read": ["salary"]})
	rules("bot", {"tables": [view, base]}) == set()
}

test_a_view_that_is_not_there_covers_nothing if {
	base := fixtures.table("hr", "payroll", "read", {"via_view": "public.orders", "columns_read": ["salary"]})
	rules("bot", {"tables": [base]}) == {"read_scope"}
}

test_writing_a_view_covers_no_reads if {
	view := fixtures.table("public", "orders", "insert", {"columns_written": ["status"]})
	base := fixtures.table("hr", "payroll", "read", {"via_view": "public.orders", "columns_read": ["salary"]})
	rules("bot", {"class": "write", "kind": "insert", "tables": [view, base]}) == {"read_scope"}
}

test_a_view_covers_no_writes if {
	view := fixtures.table("public", "orders", "read", {})
	base := fixtures.table("hr", "payroll", "update", {"via_view": "public.orders", "columns_written": ["salary"]})
	rules("bot", {"tables": [view, base]}) == {"write_scope"}
}

test_the_catalog_is_open_but_for_secrets if {
	rules("bot", reading("pg_catalog", "pg_class", ["relname"])) == set()
	rules("dora", reading("pg_catalog", "pg_authid", ["rolpassword"])) == {"catalog_secret"}
	rules("dora", reading("pg_catalog", "pg_subscription", ["subname"])) == set()
	rules("dora", reading("pg_catalog", "pg_subscription", ["subconninfo"])) == {"catalog_secret"}
}

test_a_table_called_like_a_catalog_is_no_catalog if {
	own := fixtures.table("pg_toast", "pg_toast_1", "read", {"columns_read": ["chunk_data"]})
	rules("dora", {"tables": [own]}) == {"read_scope"}
}

test_locking_rows_needs_the_right_to_write if {
	rules("bot", locking("orders")) == set()
	rules("bot", locking("customers")) == {"row_locks"}
}

locking(name) := object.union(reading("public", name, ["id"]), {"locks_rows": true})
