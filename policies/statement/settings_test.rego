package portcullis.settings_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents
import data.portcullis.statement.deny

rules(name, action, values) := found if {
	found := {reason.rule | some reason in deny} with input as fixtures.ask("dora", {
		"kind": "set",
		"class": "session",
		"settings": [{"name": name, "action": action, "values": values}],
	})
		with data.agents as agents
}

test_looking_is_free if rules("search_path", "show", []) == set()

test_what_drivers_set if {
	rules("application_name", "set", ["psql"]) == set()
	rules("extra_float_digits", "set", ["3"]) == set()
	rules("client_encoding", "set", ["UTF8"]) == set()
	rules("standard_conforming_strings", "set", ["on"]) == set()
}

test_what_would_change_the_meaning_of_a_statement if {
	every name in ["search_path", "role", "session_authorization", "row_security", "all", "plan_cache_mode"] {
		rules(name, "set", ["x"]) == {"setting"}
		rules(name, "set_local", ["x"]) == {"setting"}
	}
}

# What connection pools send before they lend a session to the next one.
test_going_back_to_how_the_session_began_is_free if {
	every name in ["all", "role", "session_authorization", "search_path", "client_encoding", "statement_timeout"] {
		rules(name, "reset", []) == set()
	}
}

# set_config() whose name or value is not a literal.
test_what_can_not_be_read_is_denied if {
	rules("?", "set", ["off"]) == {"setting"}
	rules("client_encoding", "set", []) == {"setting"}
	rules("jit", "set", []) == set()
}

test_what_must_stay if {
	rules("client_encoding", "set", ["SJIS"]) == {"setting"}
	rules("client_encoding", "set", ["UTF8", "SJIS"]) == {"setting"}
	rules("standard_conforming_strings", "set", ["off"]) == {"setting"}
}

test_a_limit_of_the_file_is_not_lifted if {
	rules("statement_timeout", "set", ["0"]) == {"setting"}
	rules("statement_timeout", "set_local", []) == {"setting"}
}
