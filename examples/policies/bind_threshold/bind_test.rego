package portcullis.bind_threshold_test

import data.portcullis.bind.bind_threshold.escalate
import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.bind_threshold.deny

ask(name, access, via, parameters) := object.union(
	fixtures.ask("dora", {"tables": [fixtures.table("public", name, access, {})]}),
	{"via": via, "bind": {"parameters": parameters}},
)

asked(name, access, value) := count(found) if {
	plain := {"index": 1, "type_name": "int4", "known": true, "null": false, "value": 1}
	asking := ask(name, access, "bind", [object.union(plain, value)])
	found := escalate with input as asking with data.bind_threshold as {"public.orders": 100}
}

test_numbers_by_their_types if {
	asked("orders", "update", {"value": 100}) == 0
	asked("orders", "update", {"value": 101}) == 1
	asked("orders", "insert", {"type_name": "numeric", "value": "100.01"}) == 1
	asked("orders", "insert", {"type_name": "numeric", "value": "99.99"}) == 0
	asked("orders", "insert", {"type_name": "numeric", "null": true, "value": ""}) == 0
}

test_other_values if {
	asked("orders", "update", {"type_name": "text", "value": "shipped"}) == 0
	asked("orders", "update", {"type_name": "oddity", "known": false, "value": ""}) == 1
	asked("orders", "update", {"type_name": "oddity", "known": false, "null": true, "value": ""}) == 0
}

test_other_tables_and_reads if {
	asked("tickets", "update", {"value": 101}) == 0
	asked("orders", "read", {"value": 101}) == 0
}

test_writes_without_parameters if {
	limits := {"public.orders": 100}
	count(deny) == 1 with input as ask("orders", "update", "query", []) with data.bind_threshold as limits
	count(deny) == 1 with input as ask("orders", "insert", "tool", []) with data.bind_threshold as limits
	count(deny) == 0 with input as ask("orders", "update", "prepare", []) with data.bind_threshold as limits
	count(deny) == 0 with input as ask("tickets", "update", "query", []) with data.bind_threshold as limits
	count(deny) == 0 with input as ask("orders", "update", "tool", [{"index": 1}]) with data.bind_threshold as limits
}
