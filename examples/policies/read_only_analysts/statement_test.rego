package portcullis.read_only_analysts_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as identities
import data.portcullis.statement.read_only_analysts.deny

people := object.union(identities, {"olga": fixtures.agent("human", ["analysts"], {})})

rules(who, class) := found if {
	found := {reason.rule | some reason in deny} with input as fixtures.ask(who, {"class": class})
		with data.agents as people
		with data.read_only_analysts.groups as ["analysts"]
}

test_analysts_read if {
	every class in ["transaction", "read", "session"] {
		rules("olga", class) == set()
	}
}

test_analysts_change_nothing if {
	every class in ["write", "ddl", "utility", "unknown"] {
		rules("olga", class) == {"analysts_read_only"}
	}
}

test_others_are_not_meant if rules("dora", "write") == set()
