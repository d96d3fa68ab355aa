package portcullis.sensitive_rows_test

import data.portcullis.result.sensitive_rows.deny

rules(source, rows) := found if {
	result := {"columns": [{"name": "x", "sources": [source]}], "rows": rows, "bytes": 0}
	found := {reason.rule | some reason in deny} with input as {"result": result}
		with data.sensitive_rows as {"public.customers.email": 10}
}

test_so_many if rules("public.customers.email", 9) == set()

test_no_more if {
	rules("public.customers.email", 10) == {"sensitive_rows"}
	rules("public.customers.email", 11) == {"sensitive_rows"}
}

test_what_is_not_sensitive if rules("public.customers.city", 1000) == set()
