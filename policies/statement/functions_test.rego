package portcullis.functions_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents
import data.portcullis.statement.deny

rules(who, key, builtin, volatility) := found if {
	found := {reason.rule | some reason in deny} with input as fixtures.ask(
		who,
		{"functions": [{"key": key, "builtin": builtin, "volatility": volatility}]},
	)
		with data.agents as agents
}

test_what_psql_needs if {
	every name in ["format_type", "pg_get_userbyid", "obj_description", "pg_get_expr", "current_setting"] {
		rules("bot", concat(".", ["pg_catalog", name]), true, "stable") == set()
	}
}

test_files_sessions_and_tables_by_name if {
	every name in ["pg_read_file", "lo_import", "set_config", "pg_terminate_backend", "query_to_xml", "nextval"] {
		rules("dora", concat(".", ["pg_catalog", name]), true, "volatile") == {"function"}
	}
	rules("dora", "pg_catalog.table_to_xml", true, "stable") == {"function"}
}

setting(name) := found if {
	found := {reason.rule | some reason in deny} with input as fixtures.ask("dora", {
		"functions": [{"key": "pg_catalog.set_config", "builtin": true, "volatility": "volatile"}],
		"settings": [{"name": name, "action": "set", "values": ["off"]}],
	})
		with data.agents as agents
}

test_set_config_is_what_it_sets if {
	setting("jit") == set()
	setting("search_path") == {"setting"}
	setting("?") == {"setting"}
}

test_unlocking_what_one_has_locked if {
	rules("bot", "pg_catalog.pg_advisory_unlock_all", true, "volatile") == set()
}

test_a_volatile_function_that_nobody_listed if {
	rules("dora", "pg_catalog.pg_advisory_lock", true, "volatile") == {"function"}
	rules("dora", "pg_catalog.new_in_postgresql_19", true, "volatile") == {"function"}
	rules("dora", "pg_catalog.new_in_postgresql_19", true, "unknown") == {"function"}
}

test_sleeping_is_for_people if {
	rules("bot", "pg_catalog.pg_sleep", true, "volatile") == {"function"}
	rules("ana", "pg_catalog.pg_sleep", true, "volatile") == set()
}

test_own_functions_must_be_cleared if {
	rules("dora", "public.customer_email", false, "immutable") == {"own_function"}
	rules("dora", "?.nosuch", false, "unknown") == {"own_function"}
	cleared := {reason.rule | some reason in deny} with input as fixtures.ask(
		"bot",
		{"functions": [{"key": "public.fine", "builtin": false, "volatility": "stable"}]},
	)
		with data.agents as agents
		with data.functions.cleared as {"shop": ["public.fine"]}
	cleared == set()
}

test_a_function_that_calls_itself_builtin_by_name_is_not if {
	rules("dora", "public.pg_catalog.now", false, "stable") == {"own_function"}
}

by_oid(functions, listed) := found if {
	call := {"kind": "function_call", "class": "utility", "functions": functions}
	found := {reason.rule | some reason in deny} with input as fixtures.ask("dora", call)
		with data.agents as agents
		with data.functions.by_oid as listed
}

test_by_oid_nothing_is_called_that_is_not_listed if {
	random := {"key": "pg_catalog.random", "builtin": true, "volatility": "volatile"}
	by_oid([random], []) == {"function_call"}
	by_oid([random], ["now"]) == {"function_call"}
	by_oid([random], ["random"]) == set()
	by_oid([], ["random"]) == {"function_call"}
}

test_a_list_for_oids_lifts_no_other_rule if {
	read := {"key": "pg_catalog.pg_read_file", "builtin": true, "volatility": "volatile"}
	by_oid([read], ["pg_read_file"]) == {"function"}
}
