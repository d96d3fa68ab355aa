package portcullis.business_hours_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as identities
import data.portcullis.statement.business_hours.deny

rules(who, class, weekday, hour) := found if {
	berlin := {"date": "2026-11-20", "weekday": weekday, "hour": hour, "minute": 5}
	asked := object.union(fixtures.ask(who, {"class": class}), {"time": {"zones": {"Europe/Berlin": berlin}}})
	found := {reason.rule | some reason in deny} with input as asked
		with data.agents as identities
		with data.business_hours.groups as ["support"]
}

test_open if {
	every hour in [8, 12, 17] {
		rules("bot", "read", 5, hour) == set()
	}
}

test_closed if {
	every hour in [0, 7, 18, 23] {
		rules("bot", "read", 1, hour) == {"business_hours"}
	}
	rules("bot", "read", 6, 12) == {"business_hours"}
	rules("bot", "read", 7, 12) == {"business_hours"}
}

test_the_way_out_is_open if rules("bot", "transaction", 7, 3) == set()

test_others_work_when_they_like if rules("dora", "read", 7, 3) == set()
