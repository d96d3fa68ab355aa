package portcullis.change_freeze_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as identities
import data.portcullis.statement.change_freeze.deny

people := object.union(identities, {"ivan": fixtures.agent("human", ["incident"], {})})

rules(who, class, date) := found if {
	asked := object.union(fixtures.ask(who, {"class": class}), {"time": {"date": date}})
	freezes := [{"first": "2026-11-27", "last": "2026-11-30", "why": "Black Friday"}]
	found := {reason.rule | some reason in deny} with input as asked
		with data.agents as people
		with data.change_freeze as {"freezes": freezes, "exempt": ["incident"]}
}

test_frozen if {
	every date in ["2026-11-27", "2026-11-28", "2026-11-30"] {
		rules("dora", "write", date) == {"change_freeze"}
		rules("dora", "ddl", date) == {"change_freeze"}
	}
}

test_before_and_after if {
	rules("dora", "write", "2026-11-26") == set()
	rules("dora", "write", "2026-12-01") == set()
}

test_reading_and_the_incident_team if {
	rules("dora", "read", "2026-11-28") == set()
	rules("ivan", "write", "2026-11-28") == set()
}
