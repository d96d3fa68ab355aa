package portcullis.delegation_depth_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.delegation_depth.deny

rules(delegation) := found if {
	asked := object.union(fixtures.ask("bot", {}), {"identity": {"delegation": delegation}})
	found := {reason.rule | some reason in deny} with input as asked with data.delegation_depth.most as 2
}

test_people_and_their_agents if {
	rules([]) == set()
	rules(["ana"]) == set()
	rules(["bot", "ana"]) == set()
}

test_too_long if rules(["helper", "bot", "ana"]) == {"delegation_depth"}
