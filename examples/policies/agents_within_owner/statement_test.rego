package portcullis.agents_within_owner_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as identities
import data.portcullis.statement.agents_within_owner.deny

people := object.union(object.remove(identities, ["ana"]), {"ana": fixtures.agent("human", [], {
	"read": {"public.orders": ["*"], "public.customers": ["id"]},
	"write": {"public.orders": ["status"]},
})})

count_of(delegation, table, access, fields) := count(found) if {
	touched := fixtures.table("public", table, access, fields)
	asked := object.union(fixtures.ask("bot", {"tables": [touched]}), {"identity": {"delegation": delegation}})
	found := deny with input as asked with data.agents as people
}

test_what_the_owner_may if {
	count_of(["ana"], "orders", "read", {"columns_read": ["total"]}) == 0
	count_of(["ana"], "orders", "update", {"columns_read": ["id"], "columns_written": ["status"]}) == 0
	count_of(["ana"], "customers", "read", {"columns_read": ["id"]}) == 0
}

test_what_the_owner_may_not if {
	count_of(["ana"], "customers", "read", {"columns_read": ["id", "name"]}) == 1
	count_of(["ana"], "tickets", "read", {"columns_read": ["id"]}) == 1
	count_of(["ana"], "orders", "update", {"columns_written": ["total"]}) == 1
	count_of(["ana"], "tickets", "update", {"columns_written": ["status"]}) == 1
}

test_everybody_in_between if {
	count_of(["gone", "ana"], "orders", "read", {"columns_read": ["id"]}) == 1
	count_of([], "tickets", "read", {"columns_read": ["id"]}) == 0
}
