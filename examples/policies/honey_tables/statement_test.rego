package portcullis.honey_tables_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.honey_tables.alert
import data.portcullis.statement.honey_tables.deny
import data.portcullis.statement.honey_tables.oblige

ask(name) := object.union(
	fixtures.ask("dora", {"tables": [fixtures.table("public", name, "read", {})]}),
	{"session": {"address": "192.0.2.7"}},
)

test_tripped if {
	count(deny) == 1 with input as ask("customers_backup")
		with data.honey_tables.tables as ["public.customers_backup"]
	count(alert) == 1 with input as ask("customers_backup")
		with data.honey_tables.tables as ["public.customers_backup"]
	oblige == {"end_session"} with input as ask("customers_backup")
		with data.honey_tables.tables as ["public.customers_backup"]
}

test_not_tripped if {
	count(deny | alert | oblige) == 0 with input as ask("customers")
		with data.honey_tables.tables as ["public.customers_backup"]
}
