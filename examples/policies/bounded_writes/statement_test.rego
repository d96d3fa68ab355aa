package portcullis.bounded_writes_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.bounded_writes.deny

rules(table, access, filtered) := found if {
	touched := fixtures.table("public", table, access, {"columns_filtered": filtered})
	found := {reason.rule | some reason in deny} with input as fixtures.ask("dora", {"tables": [touched]})
		with data.bounded_writes as {"public.orders": ["id", "customer_id"]}
}

test_a_key_is_enough if {
	rules("orders", "update", ["id", "status"]) == set()
	rules("orders", "delete", ["customer_id"]) == set()
}

test_other_columns_are_not if {
	rules("orders", "update", ["status"]) == {"bounded_writes"}
	rules("orders", "delete", []) == {"bounded_writes"}
}

test_what_is_not_meant if {
	rules("orders", "read", []) == set()
	rules("orders", "insert", []) == set()
	rules("tickets", "delete", []) == set()
}
