package portcullis.applications_test

import data.portcullis.session.applications.deny

rules(kind, application) := found if {
	asked := {"identity": {"kind": kind}, "session": {"application": application}}
	found := {reason.rule | some reason in deny} with input as asked
		with data.applications as {"human": ["psql", "DBeaver*"]}
}

test_listed if {
	rules("human", "psql") == set()
	rules("human", "DBeaver 24.1 - Main") == set()
}

test_not_listed if {
	rules("human", "my script") == {"application"}
	rules("human", "") == {"application"}
}

test_other_kinds if rules("agent", "anything") == set()
