package portcullis.detectors_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents
import data.portcullis.statement.detect

wanted := {
	"agent": [{"detector": "card", "keep_last": 4}, {"detector": "jwt"}],
	"human": [{"detector": "private_key"}],
	"service": [],
}

detected(who) := found if {
	found := detect with input as fixtures.ask(who, {})
		with data.agents as agents
		with data.detectors as wanted
}

test_agents_are_looked_after if detected("bot") == {{"detector": "card", "keep_last": 4}, {"detector": "jwt"}}

test_people_are_of_another_kind if detected("ana") == {{"detector": "private_key"}}

test_a_group_sees_clear if detected("dora") == set()
