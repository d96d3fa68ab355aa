package portcullis.column_grants_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as identities
import data.portcullis.statement.column_grants.deny

rules(who, table, columns) := found if {
	touched := fixtures.table("public", table, "read", {"columns_read": columns})
	found := {reason.rule | some reason in deny} with input as fixtures.ask(who, {"tables": [touched]})
		with data.agents as identities
		with data.column_grants as {"support": {"public.customers": ["id", "name"]}}
}

test_listed_columns if {
	rules("bot", "customers", ["id", "name"]) == set()
	rules("bot", "customers", []) == set()
}

test_others if rules("bot", "customers", ["id", "segment"]) == {"column_grants"}

test_other_tables_and_groups if {
	rules("bot", "orders", ["total"]) == set()
	rules("dora", "customers", ["segment"]) == set()
}
