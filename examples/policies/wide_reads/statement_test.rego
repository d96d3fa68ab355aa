package portcullis.wide_reads_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as identities
import data.portcullis.statement.wide_reads.deny

rules(who, name, columns) := found if {
	outputs := [{"name": column, "sources": [sprintf("public.%s.%s", [name, column])]} | some column in columns]
	touched := fixtures.table("public", name, "read", {})
	found := {reason.rule | some reason in deny} with input as fixtures.ask(who, {"tables": [touched], "outputs": outputs})
		with data.agents as identities
		with data.wide_reads as {"most": 2, "tables": {"public.orders": 3}}
}

test_few if {
	rules("bot", "customers", ["id", "name"]) == set()
	rules("bot", "orders", ["id", "total", "status"]) == set()
}

test_many if {
	rules("bot", "customers", ["id", "name", "city"]) == {"wide_read"}
	rules("bot", "orders", ["id", "total", "status", "quantity"]) == {"wide_read"}
}

test_people_may if rules("dora", "customers", ["id", "name", "city"]) == set()
