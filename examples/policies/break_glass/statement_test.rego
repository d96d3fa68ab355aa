package portcullis.break_glass_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.break_glass.alert
import data.portcullis.statement.break_glass.deny

people := {
	"dora": fixtures.agent("human", ["break_glass"], {}),
	"ana": fixtures.agent("human", ["analysts"], {}),
}

ask(who, schema, now, purpose) := object.union(
	fixtures.ask(who, {"tables": [fixtures.table(schema, "payroll", "read", {})]}),
	{"time": {"unix": now}, "session": {"purpose": purpose}},
)

denied(who, schema, now, purpose) := count(found) if {
	found := deny with input as ask(who, schema, now, purpose)
		with data.agents as people
		with data.break_glass as {"schemas": ["hr"], "until": {"dora": 1000}}
}

alerts(who, schema, now, purpose) := count(found) if {
	found := alert with input as ask(who, schema, now, purpose)
		with data.agents as people
		with data.break_glass as {"schemas": ["hr"], "until": {"dora": 1000}}
}

test_broken if {
	denied("dora", "hr", 999, "incident/42") == 0
	alerts("dora", "hr", 999, "incident/42") == 1
}

test_one_thing_is_missing if {
	denied("dora", "hr", 1000, "incident/42") == 1
	denied("dora", "hr", 999, "curiosity") == 1
	denied("dora", "hr", 999, "not an incident/42") == 1
	alerts("dora", "hr", 999, "curiosity") == 0
}

test_nobody_else if denied("ana", "hr", 999, "incident/42") == 2

test_what_is_open if {
	denied("ana", "public", 999, "") == 0
	alerts("dora", "public", 999, "incident/42") == 0
}
