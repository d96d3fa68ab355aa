package portcullis.networks_by_group_test

import data.portcullis.fixtures_test.agents as identities
import data.portcullis.session.networks_by_group.deny

rules(who, address) := found if {
	asked := {"identity": {"name": who, "file": who}, "session": {"address": address}}
	found := {reason.rule | some reason in deny} with input as asked
		with data.agents as identities
		with data.networks_by_group as {"dba": ["10.20.0.0/16", "fd00::/8"]}
}

test_inside if {
	rules("dora", "10.20.3.4") == set()
	rules("dora", "fd00::7") == set()
}

test_outside if {
	rules("dora", "192.0.2.7") == {"network"}
	rules("dora", "") == {"network"}
}

test_others if rules("bot", "192.0.2.7") == set()
