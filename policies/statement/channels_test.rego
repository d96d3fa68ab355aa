package portcullis.channels_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents
import data.portcullis.statement.allow
import data.portcullis.statement.deny

rules(kind, channel, open) := found if {
	statement := {"kind": kind, "class": "session", "channels": [channel], "destinations": ["channel"]}
	found := {reason.rule | some reason in deny} with input as fixtures.ask("bot", statement)
		with data.agents as agents
		with data.channels as open
}

test_a_channel_is_closed_until_it_is_listed if {
	every kind in ["listen", "notify"] {
		rules(kind, "jobs", {"shop": []}) == {"channel"}
		rules(kind, "jobs", {}) == {"channel"}
		rules(kind, "jobs", {"bank": ["jobs"]}) == {"channel"}
		rules(kind, "jobs", {"shop": ["jobs"]}) == set()
	}
}

test_leaving_is_free if {
	rules("unlisten", "*", {"shop": []}) == set()
	rules("unlisten", "jobs", {"shop": []}) == set()
}

test_a_listed_channel_is_allowed if {
	statement := {"kind": "listen", "class": "session", "channels": ["jobs"], "destinations": ["channel"]}
	allow with input as fixtures.ask("bot", statement)
		with data.agents as agents
		with data.channels as {"shop": ["jobs"]}
}
