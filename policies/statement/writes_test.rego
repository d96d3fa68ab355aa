package portcullis.writes_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents
import data.portcullis.statement.allow
import data.portcullis.statement.deny
import data.portcullis.statement.escalate

rules(who, fields) := found if {
	found := {reason.rule | some reason in deny} with input as fixtures.ask(who, fields)
		with data.agents as agents
}

asked(who, fields) := found if {
	found := {entry | some entry in escalate} with input as fixtures.ask(who, fields)
		with data.agents as agents
		with data.rulebook.approval_ttl_s as 900
}

update(columns, condition) := {
	"kind": "update",
	"class": "write",
	"tables": [fixtures.table("public", "orders", "update", {"columns_read": ["id"], "columns_written": columns})],
	"condition": condition,
}

by_id := {"present": true, "tautology": false, "columns": ["id"]}

test_a_write_in_scope_waits_for_the_groups_of_the_file if {
	rules("bot", update(["status"], by_id)) == set()
	some entry in asked("bot", update(["status"], by_id))
	entry.groups == ["approvers"]
	entry.ttl_s == 900
	entry.exclude_owner
}

test_the_switch_lets_owners_approve if {
	some entry in escalate with input as fixtures.ask("bot", update(["status"], by_id))
		with data.agents as agents
		with data.rulebook.owner_may_approve as true
	not entry.exclude_owner
}

test_a_write_never_just_runs if {
	not allow with input as fixtures.ask("dora", update(["status"], by_id))
		with data.agents as agents
}

test_a_column_too_many if rules("bot", update(["status", "total"], by_id)) == {"write_columns"}

test_no_where if {
	rules("bot", update(["status"], {"present": false, "tautology": false, "columns": []})) == {"no_where"}
}

test_a_where_that_always_holds if {
	rules("bot", update(["status"], {"present": true, "tautology": true, "columns": []})) == {"no_where"}
}

test_no_where_inside_a_select if {
	hidden := object.union(
		update(["status"], {"present": false, "tautology": false, "columns": []}),
		{"kind": "select", "inner": [{"kind": "update", "class": "write"}]},
	)
	rules("bot", hidden) == {"no_where"}
}

test_deleting_needs_the_whole_table if {
	gone := {
		"kind": "delete",
		"class": "write",
		"tables": [fixtures.table("public", "orders", "delete", {"columns_read": ["id"]})],
		"condition": by_id,
	}
	rules("bot", gone) == {"delete_scope"}
	rules("dora", gone) == set()
}

test_nobody_writes_the_catalog if {
	meddling := object.union(
		update([], by_id),
		{"tables": [fixtures.table("pg_catalog", "pg_class", "update", {"columns_written": ["relname"]})]},
	)
	rules("dora", meddling) == {"catalog_change", "write_scope"}
}

test_a_table_that_rewrites_writes if {
	ruled := fixtures.table("public", "orders", "update", {"columns_written": ["status"], "has_rules": true})
	rules("bot", object.union(update(["status"], by_id), {"tables": [ruled]})) == {"rewrite_rules"}
}

test_without_approvers_nothing_waits_for_ever if {
	alone := object.union(agents, {"bot": object.union(
		agents.bot,
		{"approval": {"groups": []}},
	)})
	denied := {reason.rule | some reason in deny} with input as fixtures.ask("bot", update(["status"], by_id))
		with data.agents as alone
	denied == {"no_approver"}
}

test_a_plan_is_free_and_running_it_is_not if {
	plan := object.union(
		update(["status"], by_id),
		{"kind": "explain", "inner": [{"kind": "update", "class": "write"}]},
	)
	asked("bot", plan) == set()
	rules("bot", plan) == set()
	rules("bot", object.union(plan, {"explain_analyze": true})) == {"explain_analyze"}
}

test_files_and_programs_on_the_server if {
	rules("dora", {"kind": "copy", "destinations": ["server_file"]}) == {"server_files"}
	rules("dora", {"kind": "copy", "destinations": ["server_program"]}) == {"server_files"}
	rules("dora", {"kind": "copy", "destinations": ["client"]}) == set()
}

test_nobody_loads_by_copy_what_an_approver_can_not_see if {
	load := {
		"kind": "copy",
		"class": "write",
		"tables": [fixtures.table("public", "orders", "insert", {"columns_written": ["status"]})],
	}
	rules("bot", load) == {"copy_from"}
	rules("dora", load) == {"copy_from"}
	not "copy_from" in rules("dora", {"kind": "copy", "class": "read"})
}
