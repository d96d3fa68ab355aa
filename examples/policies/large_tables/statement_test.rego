package portcullis.large_tables_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.large_tables.deny

rules(rows, condition, limited) := found if {
	touched := fixtures.table("public", "orders", "read", {"row_estimate": rows})
	asked := fixtures.ask("dora", {"tables": [touched], "condition": condition, "limit": {"present": limited}})
	found := {reason.rule | some reason in deny} with input as asked with data.large_tables.rows as 1000
}

none := {"present": false, "tautology": false}

test_all_of_it if {
	rules(1001, none, false) == {"large_table"}
	rules(1001, {"present": true, "tautology": true}, false) == {"large_table"}
}

test_a_part if {
	rules(1001, {"present": true, "tautology": false}, false) == set()
	rules(1001, none, true) == set()
}

test_small_or_unknown if {
	rules(1000, none, false) == set()
	rules(-1, none, false) == set()
}
