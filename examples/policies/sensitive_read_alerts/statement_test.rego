package portcullis.sensitive_read_alerts_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.sensitive_read_alerts.alert

messages(schema, name, columns) := found if {
	touched := fixtures.table(schema, name, "read", {"columns_read": columns})
	found := {entry.message | some entry in alert} with input as fixtures.ask("dora", {"tables": [touched]})
		with data.sensitive_read_alerts as {"hr.payroll": ["*"], "public.customers": ["ssn"]}
}

test_watched if {
	messages("hr", "payroll", ["name", "title"]) == {"`dora` reads name, title of `hr.payroll`"}
	messages("public", "customers", ["name", "ssn"]) == {"`dora` reads ssn of `public.customers`"}
}

test_not_watched if {
	messages("public", "customers", ["name"]) == set()
	messages("public", "orders", ["id"]) == set()
}
