package portcullis.session_test

import data.portcullis.fixtures_test.agents
import data.portcullis.session.allow
import data.portcullis.session.role

ask(who, database, roles) := {"identity": {"name": who}, "database": database, "roles": roles}

test_a_scope_opens_a_database if {
	allow with input as ask("bot", "shop", []) with data.agents as agents
	not allow with input as ask("bot", "bank", []) with data.agents as agents
	not allow with input as ask("nobody", "shop", []) with data.agents as agents
}

test_who_sees_clear_gets_the_full_role if {
	role == "full" with input as ask("dora", "shop", ["full"]) with data.agents as agents
	not role with input as ask("dora", "shop", ["reader"]) with data.agents as agents
	not role with input as ask("ana", "shop", ["full"]) with data.agents as agents
}
