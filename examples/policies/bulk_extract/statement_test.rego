package portcullis.bulk_extract_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as identities
import data.portcullis.statement.bulk_extract.alert
import data.portcullis.statement.bulk_extract.deny
import data.portcullis.statement.bulk_extract.limit

people := object.union(identities, {"nightly": fixtures.agent("service", ["exports"], {})})

answer(who, fields) := {"deny": count(denied), "alert": count(alerts), "limit": limits} if {
	asked := fixtures.ask(who, fields)
	settings := {"groups": ["exports"], "rows": 10, "bytes": 20}
	denied := deny with input as asked with data.agents as people with data.bulk_extract as settings
	alerts := alert with input as asked with data.agents as people with data.bulk_extract as settings
	limits := limit with input as asked with data.agents as people with data.bulk_extract as settings
}

copy := {"kind": "copy", "class": "read", "tables": [fixtures.table("public", "orders", "read", {})]}

ceiling := {{"rows": 10, "bytes": 20}}

test_export_jobs if {
	answer("nightly", copy) == {"deny": 0, "alert": 1, "limit": set()}
	answer("nightly", {}) == {"deny": 0, "alert": 0, "limit": set()}
}

test_all_others if {
	answer("dora", copy) == {"deny": 1, "alert": 0, "limit": ceiling}
	answer("dora", {}) == {"deny": 0, "alert": 0, "limit": ceiling}
	answer("dora", {"kind": "copy", "class": "write"}) == {"deny": 0, "alert": 0, "limit": ceiling}
}
