package portcullis.four_eyes_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.four_eyes.escalate

asked(table, access) := found if {
	touched := fixtures.table("public", table, access, {})
	found := {entry.seats | some entry in escalate} with input as fixtures.ask("dora", {"tables": [touched]})
		with data.four_eyes as {"public.products": [{"groups": ["dba"]}, {"groups": ["finance"]}]}
}

test_writes_of_listed_tables if {
	every access in ["insert", "update", "delete"] {
		asked("products", access) == {[{"groups": ["dba"]}, {"groups": ["finance"]}]}
	}
}

test_nothing_else if {
	asked("products", "read") == set()
	asked("orders", "update") == set()
}
