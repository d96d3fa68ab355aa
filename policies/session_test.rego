package portcullis.session_test

import data.portcullis.fixtures_test.agents
import data.portcullis.session.allow
import data.portcullis.session.deny
import data.portcullis.session.read_only
import data.portcullis.session.role
import data.portcullis.session.row_values

ask(who, database, roles) := {"identity": {"name": who, "file": who}, "database": database, "roles": roles, "settings": []}

rules(name, value) := found if {
	asked := {
		"identity": {"name": "ana", "file": "ana"},
		"database": "shop",
		"roles": [],
		"settings": [{"name": name, "value": value}],
	}
	found := {reason.rule | some reason in deny} with input as asked with data.agents as agents
}

test_a_scope_opens_a_database if {
	allow with input as ask("bot", "shop", []) with data.agents as agents
	not allow with input as ask("bot", "bank", []) with data.agents as agents
	not allow with input as ask("nobody", "shop", []) with data.agents as agents
}

test_who_has_no_scope_is_told_whom_to_ask if {
	every who in ["bot", "nobody"] {
		found := deny with input as ask(who, "bank", []) with data.agents as agents
		{reason.rule | some reason in found} == {"no_scope"}
	}
}

test_who_sees_clear_gets_the_full_role if {
	role == "full" with input as ask("dora", "shop", ["full"]) with data.agents as agents
	not role with input as ask("dora", "shop", ["reader"]) with data.agents as agents
	not role with input as ask("ana", "shop", ["full"]) with data.agents as agents
}

test_who_may_write_nothing_has_read_only_sessions if {
	reader := {"kind": "human", "groups": [], "scope": {"shop": {"read": {"public.*": ["*"]}}}}
	keeper := object.union(reader, {"groups": ["dba"]})
	writer := object.union(reader, {"scope": {"shop": {"write": {"public.orders": ["*"]}}}})
	read_only with input as ask("reader", "shop", []) with data.agents as {"reader": reader}
	read_only with input as ask("reader", "shop", []) with data.agents as {"reader": object.union(reader, {"scope": {"shop": {"write": {}}}})}
	not read_only with input as ask("reader", "shop", []) with data.agents as {"reader": writer}
	not read_only with input as ask("reader", "shop", []) with data.agents as {"reader": keeper}
}

test_what_drivers_set_when_they_connect if {
	every setting in [
		["application_name", "psql"], ["datestyle", "ISO"], ["timezone", "Asia/Tokyo"], ["intervalstyle", "iso_8601"],
		["extra_float_digits", "3"], ["client_encoding", "UTF8"], ["client_encoding", "SQL_ASCII"],
		["statement_timeout", "5s"], ["lock_timeout", "5s"], ["idle_in_transaction_session_timeout", "5s"],
		["bytea_output", "hex"], ["client_min_messages", "warning"], ["geqo", "off"], ["jit", "off"],
		["standard_conforming_strings", "on"],
	] {
		rules(setting[0], setting[1]) == set()
	}
}

test_what_is_refused_when_they_connect if {
	every setting in [
		["search_path", "hr"], ["role", "postgres"], ["session_authorization", "postgres"], ["row_security", "off"],
		["standard_conforming_strings", "off"], ["client_encoding", "SJIS"], ["work_mem", "1GB"],
		["temp_file_limit", "-1"], ["replication", "database"], ["portcullis.tenant", "1"],
	] {
		rules(setting[0], setting[1]) == {"setting"}
	}
}

given := {"shop": {
	"tenant": {
		"identities": {"bot": ["3"]},
		"groups": {"support": ["1"], "dba": ["2", "1"], "pii_readers": ["4"], "approvers": "all"},
	},
	"region": {"groups": {"support": ["north"]}},
}}

values(who) := found if {
	found := row_values with input as ask(who, "shop", [])
		with data.agents as agents
		with data.row_values as given
}

test_a_name_weighs_more_than_groups if {
	values("bot") == {{"filter": "tenant", "values": ["3"]}, {"filter": "region", "values": ["north"]}}
}

test_groups_add_up if values("dora") == {{"filter": "tenant", "values": ["1", "2", "4"]}}

test_all_lifts if values("ana") == {{"filter": "tenant", "all": true}}

test_a_stranger_has_no_rows if values("nobody") == set()
