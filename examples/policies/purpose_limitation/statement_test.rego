package portcullis.purpose_limitation_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.purpose_limitation.deny

messages(columns, purpose) := found if {
	touched := fixtures.table("public", "customers", "read", {"columns_read": columns})
	asked := object.union(fixtures.ask("dora", {"tables": [touched]}), {"session": {"purpose": purpose}})
	found := {reason.message | some reason in deny} with input as asked
		with data.purpose_limitation as {"public.customers": {"city": ["delivery"]}}
}

test_for_its_purpose if messages(["id", "city"], "delivery") == set()

test_for_another if {
	messages(["city"], "marketing") == {"`city` of `public.customers` is not for the purpose `marketing`"}
	messages(["city"], "") == {"`city` of `public.customers` is not for a session that does not say what it is for"}
}

test_what_is_not_listed if messages(["id"], "") == set()
