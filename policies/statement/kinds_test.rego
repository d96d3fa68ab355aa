package portcullis.kinds_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents
import data.portcullis.statement.allow
import data.portcullis.statement.deny

rules(who, fields) := found if {
	found := {reason.rule | some reason in deny} with input as fixtures.ask(who, fields)
		with data.agents as agents
}

allowed(who, fields) if allow with input as fixtures.ask(who, fields) with data.agents as agents

ddl(kind, tables) := {"kind": kind, "class": "ddl", "tables": tables}

test_reading_is_allowed if allowed("bot", {})

test_ddl_is_denied_to_agents if {
	rules("bot", ddl("drop_table", [])) == {"ddl"}
	not allowed("bot", ddl("drop_table", []))
}

test_ddl_is_for_dbas if {
	rules("dora", ddl("drop_table", [])) == set()
	allowed("dora", ddl("drop_table", []))
}

test_not_every_ddl_is_for_dbas if rules("dora", ddl("create_function", [])) == {"ddl"}

test_ddl_stays_in_scope if {
	audit := fixtures.table("ops", "audit", "define", {})
	rules("dora", ddl("drop_table", [audit])) == {"ddl_scope"}
}

test_who_sees_masks_renames_nothing if {
	with_dan := object.union(agents, {"dan": fixtures.agent("human", ["dba"], {
		"read": {"public.*": ["*"]},
		"write": {"public.*": ["*"]},
	})})
	rename := ddl("alter_table", [fixtures.table("public", "customers", "define", {})])
	denied := {reason.rule | some reason in deny} with input as fixtures.ask("dan", rename)
		with data.agents as with_dan
		with data.labels as {"shop": {"public.customers": {"name": "email"}}}
	denied == {"ddl_on_masked"}
}

test_what_hides_inside_counts if {
	rules("bot", {"inner": [{"kind": "call", "class": "utility"}]}) == {"statement_kind"}
	rules("bot", {"kind": "explain", "class": "ddl", "inner": [{"kind": "create_table_as", "class": "ddl"}]}) == {"ddl"}
}

test_what_pools_send_between_two_uses if {
	every kind in ["reset", "discard_all", "discard_temp", "discard_sequences", "close_cursor", "unlisten"] {
		rules("bot", {"kind": kind, "class": "session"}) == set()
		allowed("bot", {"kind": kind, "class": "session"})
	}
}

test_preparing_a_write_runs_nothing if {
	update := {"kind": "prepare", "class": "write", "inner": [{"kind": "update", "class": "write"}]}
	where := object.union(update, {"condition": {"present": true, "tautology": false, "columns": ["id"]}})
	allowed("bot", where)
	rules("bot", where) == set()
	rules("bot", update) == {"no_where"}
	not allowed("bot", object.union(where, {"kind": "execute"}))
}

test_unknown_kinds_are_denied if {
	rules("bot", {"kind": "unknown", "class": "unknown"}) == {"statement_kind"}
	rules("dora", {"kind": "new_in_postgresql_19", "class": "utility"}) == {"statement_kind"}
	not allowed("dora", {"kind": "new_in_postgresql_19", "class": "read"})
}

test_unresolved_is_denied if {
	rules("bot", {"unresolved": [{"what": "relation", "name": "t", "why": "does not exist"}]}) == {"unresolved"}
}

test_a_stranger_is_allowed_nothing_that_matters if {
	rules("nobody", {"tables": [fixtures.table("public", "orders", "read", {})]}) == {"read_scope"}
}
